//! Where the descriptions of each built-in kind come from: the JSON schema of its type in `k8s-openapi`.

use std::collections::HashMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema of the definition `root` and of those that it refers to, by name. Empty for a name without a type.
pub(super) fn schemas(root: &str) -> HashMap<String, Value> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let Some(schema) = generate(root, &mut generator) else { return HashMap::new() };
    let mut all: HashMap<String, Value> = generator.take_definitions(false).into_iter().collect();
    all.insert(root.to_owned(), schema);
    all
}

macro_rules! types {
    ($($name:literal => $($path:ident)::+,)+) => {
        fn generate(name: &str, generator: &mut SchemaGenerator) -> Option<Value> {
            use schemars::JsonSchema as _;
            Some(match name {
                $($name => k8s_openapi::$($path)::+::json_schema(generator).to_value(),)+
                _ => return None,
            })
        }
    };
}

types! {
    "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy" => api::admissionregistration::v1::MutatingAdmissionPolicy,
    "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding" => api::admissionregistration::v1::MutatingAdmissionPolicyBinding,
    "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration" => api::admissionregistration::v1::MutatingWebhookConfiguration,
    "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy" => api::admissionregistration::v1::ValidatingAdmissionPolicy,
    "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding" => api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration" => api::admissionregistration::v1::ValidatingWebhookConfiguration,
    "io.k8s.api.apps.v1.ControllerRevision" => api::apps::v1::ControllerRevision,
    "io.k8s.api.apps.v1.DaemonSet" => api::apps::v1::DaemonSet,
    "io.k8s.api.apps.v1.Deployment" => api::apps::v1::Deployment,
    "io.k8s.api.apps.v1.ReplicaSet" => api::apps::v1::ReplicaSet,
    "io.k8s.api.apps.v1.StatefulSet" => api::apps::v1::StatefulSet,
    "io.k8s.api.authentication.v1.SelfSubjectReview" => api::authentication::v1::SelfSubjectReview,
    "io.k8s.api.authentication.v1.TokenRequest" => api::authentication::v1::TokenRequest,
    "io.k8s.api.authentication.v1.TokenReview" => api::authentication::v1::TokenReview,
    "io.k8s.api.authorization.v1.LocalSubjectAccessReview" => api::authorization::v1::LocalSubjectAccessReview,
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview" => api::authorization::v1::SelfSubjectAccessReview,
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview" => api::authorization::v1::SelfSubjectRulesReview,
    "io.k8s.api.authorization.v1.SubjectAccessReview" => api::authorization::v1::SubjectAccessReview,
    "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler" => api::autoscaling::v1::HorizontalPodAutoscaler,
    "io.k8s.api.autoscaling.v1.Scale" => api::autoscaling::v1::Scale,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler" => api::autoscaling::v2::HorizontalPodAutoscaler,
    "io.k8s.api.batch.v1.CronJob" => api::batch::v1::CronJob,
    "io.k8s.api.batch.v1.Job" => api::batch::v1::Job,
    "io.k8s.api.coordination.v1.Lease" => api::coordination::v1::Lease,
    "io.k8s.api.core.v1.Binding" => api::core::v1::Binding,
    "io.k8s.api.core.v1.ComponentStatus" => api::core::v1::ComponentStatus,
    "io.k8s.api.core.v1.ConfigMap" => api::core::v1::ConfigMap,
    "io.k8s.api.core.v1.Endpoints" => api::core::v1::Endpoints,
    "io.k8s.api.core.v1.Event" => api::core::v1::Event,
    "io.k8s.api.core.v1.LimitRange" => api::core::v1::LimitRange,
    "io.k8s.api.core.v1.Namespace" => api::core::v1::Namespace,
    "io.k8s.api.core.v1.Node" => api::core::v1::Node,
    "io.k8s.api.core.v1.PersistentVolume" => api::core::v1::PersistentVolume,
    "io.k8s.api.core.v1.PersistentVolumeClaim" => api::core::v1::PersistentVolumeClaim,
    "io.k8s.api.core.v1.Pod" => api::core::v1::Pod,
    "io.k8s.api.core.v1.PodTemplate" => api::core::v1::PodTemplate,
    "io.k8s.api.core.v1.ReplicationController" => api::core::v1::ReplicationController,
    "io.k8s.api.core.v1.ResourceQuota" => api::core::v1::ResourceQuota,
    "io.k8s.api.core.v1.Secret" => api::core::v1::Secret,
    "io.k8s.api.core.v1.Service" => api::core::v1::Service,
    "io.k8s.api.core.v1.ServiceAccount" => api::core::v1::ServiceAccount,
    "io.k8s.api.discovery.v1.EndpointSlice" => api::discovery::v1::EndpointSlice,
    "io.k8s.api.events.v1.Event" => api::events::v1::Event,
    "io.k8s.api.networking.v1.IPAddress" => api::networking::v1::IPAddress,
    "io.k8s.api.networking.v1.Ingress" => api::networking::v1::Ingress,
    "io.k8s.api.networking.v1.IngressClass" => api::networking::v1::IngressClass,
    "io.k8s.api.networking.v1.NetworkPolicy" => api::networking::v1::NetworkPolicy,
    "io.k8s.api.networking.v1.ServiceCIDR" => api::networking::v1::ServiceCIDR,
    "io.k8s.api.node.v1.RuntimeClass" => api::node::v1::RuntimeClass,
    "io.k8s.api.policy.v1.Eviction" => api::policy::v1::Eviction,
    "io.k8s.api.policy.v1.PodDisruptionBudget" => api::policy::v1::PodDisruptionBudget,
    "io.k8s.api.rbac.v1.ClusterRole" => api::rbac::v1::ClusterRole,
    "io.k8s.api.rbac.v1.ClusterRoleBinding" => api::rbac::v1::ClusterRoleBinding,
    "io.k8s.api.rbac.v1.Role" => api::rbac::v1::Role,
    "io.k8s.api.rbac.v1.RoleBinding" => api::rbac::v1::RoleBinding,
    "io.k8s.api.scheduling.v1.PriorityClass" => api::scheduling::v1::PriorityClass,
    "io.k8s.api.storage.v1.CSIDriver" => api::storage::v1::CSIDriver,
    "io.k8s.api.storage.v1.CSINode" => api::storage::v1::CSINode,
    "io.k8s.api.storage.v1.CSIStorageCapacity" => api::storage::v1::CSIStorageCapacity,
    "io.k8s.api.storage.v1.StorageClass" => api::storage::v1::StorageClass,
    "io.k8s.api.storage.v1.VolumeAttachment" => api::storage::v1::VolumeAttachment,
    "io.k8s.api.storage.v1.VolumeAttributesClass" => api::storage::v1::VolumeAttributesClass,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition" => apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService" => kube_aggregator::pkg::apis::apiregistration::v1::APIService,
}
