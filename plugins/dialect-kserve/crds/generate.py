#!/usr/bin/env python3
"""Writes the CustomResourceDefinitions in this folder.

Names, versions, scopes, printer columns, required fields and enumerations are those of KServe's own definitions, so that
manifests, `kubectl` and the Python client work unchanged. What is Kubernetes' own (containers, volumes, affinities) is
described by its first level and otherwise taken as it comes: the kernel hands it on to Pods, whose schema is checked
there. Run it with Python 3 and PyYAML, and commit what it writes.
"""

import pathlib

import yaml

HERE = pathlib.Path(__file__).parent
GROUP = "serving.kserve.io"


def field(kind, description=None, **more):
    """A schema of one type."""
    schema = {"type": kind}
    if description:
        schema["description"] = description
    schema.update(more)
    return schema


def text(description=None, **more):
    return field("string", description, **more)


def whole(description=None, bits=32, **more):
    return field("integer", description, format=f"int{bits}", **more)


def flag(description=None):
    return field("boolean", description)


def items(of, description=None, **more):
    return field("array", description, items=of, **more)


def texts(description=None):
    return items(text(), description)


def mapped(of, description=None):
    return field("object", description, additionalProperties=of)


def labels(description=None):
    return mapped(text(), description)


def known(properties, description=None, required=(), **more):
    """An object whose fields are all known; others are dropped."""
    schema = field("object", description, properties=properties, **more)
    if required:
        schema["required"] = sorted(required)
    return schema


def part(properties, description=None, required=(), **more):
    """An object of which only some fields are described, and all are kept."""
    return known(properties, description, required, **{"x-kubernetes-preserve-unknown-fields": True, **more})


def anything(description=None):
    return field("object", description, **{"x-kubernetes-preserve-unknown-fields": True})


def quantity(description=None):
    schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    if description:
        schema["description"] = description
    return schema


RESOURCES = part(
    {
        "limits": mapped(quantity(), "At most so much of each resource, such as cpu, memory or nvidia.com/gpu."),
        "requests": mapped(quantity(), "At least so much of each resource."),
    },
    "Processor, memory and devices.",
)

VARIABLE = part(
    {
        "name": text("Its name."),
        "value": text("Its value."),
        "valueFrom": anything("Where its value comes from: a key of a ConfigMap or Secret, or a field of the Pod."),
    },
)

CONTAINER = {
    "name": text("Its name in the Pod."),
    "image": text("The image that it runs."),
    "command": texts("Runs instead of the image's entry point."),
    "args": texts("Arguments."),
    "env": items(VARIABLE, "Environment variables."),
    "envFrom": items(anything(), "ConfigMaps and Secrets whose entries become environment variables."),
    "imagePullPolicy": text("Always, Never or IfNotPresent."),
    "lifecycle": anything("What happens after its start and before its end."),
    "livenessProbe": anything("It is restarted where this fails."),
    "readinessProbe": anything("It gets requests while this succeeds."),
    "startupProbe": anything("The other probes begin once this has succeeded."),
    "ports": items(
        part({
            "containerPort": whole("The port."),
            "name": text("h2c and names with grpc are for gRPC; others are for HTTP."),
            "protocol": text("TCP, UDP or SCTP."),
        }),
        "Where it listens.",
    ),
    "resizePolicy": items(anything(), "What happens when its resources change."),
    "resources": RESOURCES,
    "restartPolicy": text("Always, for an init container that goes on running."),
    "securityContext": anything("Under which user and with which rights it runs."),
    "stdin": flag(),
    "stdinOnce": flag(),
    "terminationMessagePath": text("The file with its last words."),
    "terminationMessagePolicy": text("File or FallbackToLogsOnError."),
    "tty": flag(),
    "volumeDevices": items(anything(), "Block devices that it sees."),
    "volumeMounts": items(anything(), "Where it sees the Pod's volumes."),
    "workingDir": text("The folder that it starts in."),
}

CONTAINERS = items(part(CONTAINER), "Containers of the Pod. The one called kserve-container serves, else the first.")

POD = {
    "activeDeadlineSeconds": whole("The Pod ends after so many seconds.", 64),
    "affinity": anything("On which nodes the Pod may be."),
    "automountServiceAccountToken": flag("Whether the service account's token is mounted."),
    "containers": CONTAINERS,
    "dnsConfig": anything("How names are looked up."),
    "dnsPolicy": text("ClusterFirst, ClusterFirstWithHostNet, Default or None."),
    "enableServiceLinks": flag("Whether Services become environment variables."),
    "ephemeralContainers": items(anything()),
    "hostAliases": items(anything(), "Entries of the hosts file."),
    "hostIPC": flag(),
    "hostNetwork": flag(),
    "hostPID": flag(),
    "hostUsers": flag(),
    "hostname": text("The Pod's host name."),
    "hostnameOverride": text(),
    "imagePullSecrets": items(part({"name": text()}), "Secrets with which images are pulled."),
    "initContainers": items(anything(), "Containers that run before the others."),
    "nodeName": text("The node that the Pod is on."),
    "nodeSelector": labels("Labels that the Pod's node has."),
    "os": anything(),
    "overhead": mapped(quantity()),
    "preemptionPolicy": text(),
    "priority": whole(),
    "priorityClassName": text("How important the Pod is."),
    "readinessGates": items(anything()),
    "resourceClaims": items(anything()),
    "resources": RESOURCES,
    "restartPolicy": text("Always, OnFailure or Never."),
    "runtimeClassName": text(),
    "schedulerName": text(),
    "schedulingGates": items(anything()),
    "securityContext": anything("Under which user and with which rights the Pod runs."),
    "serviceAccount": text("The older name of serviceAccountName."),
    "serviceAccountName": text("Its Secrets open the place that the model is read from."),
    "setHostnameAsFQDN": flag(),
    "shareProcessNamespace": flag(),
    "subdomain": text(),
    "terminationGracePeriodSeconds": whole("How long the Pod has to end.", 64),
    "tolerations": items(anything(), "Taints that the Pod bears."),
    "topologySpreadConstraints": items(anything(), "How Pods are spread."),
    "volumes": items(anything(), "Volumes that containers can mount."),
    "workloadRef": anything(),
}

# Where a Pod is one of several in a definition, so that the definition stays of a size that a registry takes.
OTHER_POD = {**POD, "containers": items(part({"name": text(), "image": text()}), "Containers of the Pod.")}
OTHER_CONTAINER = {name: CONTAINER[name] for name in ["name", "image", "command", "args", "env", "ports", "resources"]}

STORAGE = part(
    {
        "key": text("An entry of the Secret storage-config."),
        "path": text("The model's path in the store."),
        "schemaPath": text("The path of the model's schema in the store."),
        "parameters": labels("What the entry does not say or says otherwise, such as type and bucket."),
    },
    "Where the model is, in place of storageUri.",
)

STORAGE_URIS = items(
    known(
        {
            "uri": text("A place with files.", minLength=1),
            "mountPath": text("Where a container sees them.", default="/mnt/models", maxLength=255, pattern="^/.*"),
        },
        required=["uri"],
    ),
    "Places with files.",
    minItems=1,
    **{"x-kubernetes-list-type": "atomic"},
)

METRIC = text("What is measured.", enum=["cpu", "memory", "concurrency", "rps"])

EXTENSION = {
    "minReplicas": whole("At least so many replicas: 1 unless said. With 0, a service without requests takes nothing."),
    "maxReplicas": whole("At most so many replicas; 0 for no limit."),
    "scaleTarget": whole("How much of scaleMetric a replica should have."),
    "scaleMetric": METRIC,
    "scaleMetricType": text("Utilization or AverageValue.", enum=["Utilization", "Value", "AverageValue"]),
    "autoScaling": anything("Metrics and behaviour for HPA and KEDA."),
    "containerConcurrency": whole("Requests that a replica handles at once; more wait. 0 for no limit.", 64),
    "timeout": whole("A request takes at most so long, in seconds.", 64),
    "canaryTrafficPercent": whole(
        "The share of the requests that the latest revision gets; the rest stays with the one before it.", 64
    ),
    "logger": part(
        {
            "url": text("Receives payloads as CloudEvents."),
            "mode": text("Which payloads.", enum=["all", "request", "response"]),
            "metadataHeaders": texts("Headers that are sent along."),
            "metadataAnnotations": texts("Annotations that are sent along."),
            "storage": anything("A store that receives payloads."),
        },
        "Where payloads are sent.",
    ),
    "batcher": part(
        {
            "maxBatchSize": field("integer", "Instances in one batch at most."),
            "maxLatency": field("integer", "The first of a batch waits so long at most, in milliseconds."),
            "timeout": field("integer", "A batch takes at most so long, in seconds."),
        },
        "Whether requests that come close together are computed together.",
    ),
    "labels": labels("Labels of the Pods."),
    "annotations": labels("Annotations of the Pods."),
    "deploymentStrategy": anything("How Pods are replaced."),
}

SERVED = {
    "storageUri": text("Where the model is: gs://, s3://, pvc://, hf://, oci://, http(s):// or a path."),
    "storage": STORAGE,
    "runtimeVersion": text("The tag of the server's image."),
    "protocolVersion": text("v1, v2, grpc-v1 or grpc-v2."),
}

WORKER = {
    "pipelineParallelSize": field("integer", "How many nodes a replica has."),
    "tensorParallelSize": field("integer", "How many devices a node of it has."),
}

FORMATS = {
    "sklearn": "scikit-learn",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "onnx": "ONNX",
    "tensorflow": "TensorFlow",
    "pytorch": "PyTorch",
    "triton": "Triton",
    "pmml": "PMML",
    "paddle": "PaddlePaddle",
    "huggingface": "Hugging Face",
}


def predictor():
    frameworks = {name: part({**OTHER_CONTAINER, **SERVED}, f"A {title} model.") for name, title in FORMATS.items()}
    model = part(
        {
            **CONTAINER,
            **SERVED,
            "modelFormat": known(
                {"name": text("Such as sklearn."), "version": text("Such as 1 or 1.2.")},
                "The format of the model, by which a runtime is found.",
                required=["name"],
            ),
            "runtime": text("A ServingRuntime or ClusterServingRuntime, in place of one that is found by the format."),
        },
        "A model of any format.",
    )
    return part(
        {
            **POD,
            **EXTENSION,
            **frameworks,
            "model": model,
            "storageUris": STORAGE_URIS,
            "workerSpec": part({**OTHER_POD, **WORKER}, "More nodes of a replica."),
        },
        "What serves the model: model, one of the frameworks, or containers.",
    )


CONDITIONS = items(
    known(
        {
            "type": text(),
            "status": text(),
            "severity": text("Info for a condition that Ready does not sum up."),
            "reason": text(),
            "message": text(),
            "lastTransitionTime": text("When the condition last changed."),
        },
        required=["status", "type"],
    ),
    "How far it is. Ready sums up the others.",
)

ADDRESS = part({"url": text(), "name": text(), "CACerts": text(), "audience": text()}, "Where it answers inside the cluster.")

STATUS = {
    "observedGeneration": whole("The generation that this is about.", 64),
    "conditions": CONDITIONS,
    "annotations": labels("What else is known."),
}

COMPONENT_STATUS = part(
    {
        "latestCreatedRevision": text("The revision of the current spec."),
        "latestReadyRevision": text("The latest revision that is ready."),
        "latestRolledoutRevision": text("The latest revision that had all requests."),
        "previousRolledoutRevision": text("The one that had them before."),
        "traffic": items(
            part({
                "revisionName": text(),
                "latestRevision": flag("Whether it follows the latest revision."),
                "percent": whole("Its share of the requests.", 64),
                "tag": text("Stands in front of the host for a name of its own."),
                "url": text("The name of its own."),
                "configurationName": text(),
            }),
            "Who gets which share of the requests.",
        ),
        "url": text("Where it answers."),
        "restUrl": text("Where it answers over HTTP."),
        "grpcUrl": text("Where it answers over gRPC."),
        "address": ADDRESS,
    },
)

SERVICE_STATUS = part(
    {
        **STATUS,
        "url": text("Where the service answers."),
        "address": ADDRESS,
        "components": mapped(COMPONENT_STATUS, "Of each component."),
        "deploymentMode": text(),
        "servingRuntimeName": text("What serves the model, of the namespace or of Purlin."),
        "clusterServingRuntimeName": text("What serves the model, of the cluster."),
        "modelStatus": part(
            {
                "transitionStatus": text(
                    "Whether what answers is of the current spec.",
                    enum=["", "UpToDate", "InProgress", "BlockedByFailedLoad", "InvalidSpec"],
                ),
                "states": part({"activeModelState": text(), "targetModelState": text()}),
                "copies": part({"failedCopies": field("integer"), "totalCopies": field("integer")}),
                "lastFailureInfo": part({
                    "reason": text(),
                    "message": text(),
                    "location": text(),
                    "modelRevisionName": text(),
                    "time": text(format="date-time"),
                    "exitCode": whole(),
                }),
            },
            "Of the model.",
        ),
    },
    "What came of it.",
)

INFERENCE_SERVICE = known(
    {
        "predictor": predictor(),
        "transformer": part(
            {**POD, **EXTENSION, "storageUris": STORAGE_URIS},
            "Changes requests before they reach the predictor, and answers after.",
        ),
        "explainer": part(
            {
                **POD,
                **EXTENSION,
                "storageUris": STORAGE_URIS,
                "art": part(
                    {
                        **OTHER_CONTAINER,
                        "type": text("Such as SquareAttack."),
                        "storageUri": text("Where a trained explainer is."),
                        "storage": STORAGE,
                        "runtimeVersion": text("The tag of the explainer's image."),
                        "config": labels("Settings."),
                    },
                    "An explainer of the Adversarial Robustness Toolbox.",
                    required=["type"],
                ),
            },
            "Explains the predictor's answers.",
        ),
    },
    "What should be served.",
    required=["predictor"],
)

RUNTIME_POD = {
    name: POD[name]
    for name in ["containers", "volumes", "nodeSelector", "affinity", "tolerations", "imagePullSecrets", "hostIPC"]
} | {"labels": labels("Labels of the Pods."), "annotations": labels("Annotations of the Pods.")}

SERVING_RUNTIME = known(
    {
        **RUNTIME_POD,
        "supportedModelFormats": items(
            known(
                {
                    "name": text("A format, such as sklearn."),
                    "version": text("Its version."),
                    "autoSelect": flag("Whether a model of the format that names no runtime may be given to this one."),
                    "priority": whole("Among several that may be given a model, the one with the highest is.", minimum=1),
                },
                required=["name"],
            ),
            "What it serves.",
        ),
        "multiModel": flag("Whether it serves several models at once."),
        "disabled": flag("Whether it is not to be used."),
        "protocolVersions": texts("What it speaks: v1, v2, grpc-v1, grpc-v2. All where it is empty."),
        "workerSpec": known({**RUNTIME_POD, **WORKER}, "More nodes of a replica.", required=["containers"]),
        "grpcEndpoint": text("Where models are loaded and unloaded."),
        "grpcDataEndpoint": text("Where it answers over gRPC."),
        "httpDataEndpoint": text("Where it answers over HTTP."),
        "replicas": field("integer", "How many Pods serve its models."),
        "storageHelper": known({"disabled": flag()}, "Whether models are fetched for it."),
        "builtInAdapter": known(
            {
                "serverType": text(),
                "runtimeManagementPort": field("integer"),
                "memBufferBytes": field("integer"),
                "modelLoadingTimeoutMillis": field("integer"),
                "env": items(VARIABLE),
            },
            "How a known server is made to serve several models.",
        ),
    },
    "Containers that serve models of some formats.",
    required=["containers"],
)

TRAINED_MODEL = known(
    {
        "inferenceService": text("The InferenceService that serves it."),
        "model": known(
            {
                "framework": text("The format of the model, such as sklearn."),
                "storageUri": text("Where the model is."),
                "memory": quantity("The model takes at most so much memory."),
            },
            "The model.",
            required=["framework", "memory", "storageUri"],
        ),
    },
    "A model that is served beside others.",
    required=["inferenceService", "model"],
)

STEP = part(
    {
        "name": text("Names its answer in an ensemble's."),
        "serviceName": text("An InferenceService of the same namespace."),
        "nodeName": text("Another node."),
        "serviceUrl": text("A server elsewhere."),
        "data": text("$request, or $response for the answer of the step before."),
        "condition": text("A GJSON path over what the step is given: the step is taken where it finds something."),
        "weight": whole("Its share in a splitter, in percent.", 64),
        "dependency": text("Hard where the node fails with the step.", enum=["Soft", "Hard"]),
        "mapPredictionsToInstances": flag("Whether the predictions of the step before become its instances."),
    },
)

INFERENCE_GRAPH = known(
    {
        "nodes": mapped(
            known(
                {
                    "routerType": text(
                        "What it does with its steps.", enum=["Sequence", "Splitter", "Ensemble", "Switch"]
                    ),
                    "steps": items(STEP, "In order."),
                },
                required=["routerType"],
            ),
            "By name; one is root, where a request enters.",
        ),
        "resources": RESOURCES,
        "affinity": POD["affinity"],
        "timeout": EXTENSION["timeout"],
        "routerTimeouts": known(
            {
                name: whole("In seconds.", 64) for name in ["serverRead", "serverWrite", "serverIdle", "serviceClient"]
            },
            "Time limits of the router.",
        ),
        "minReplicas": EXTENSION["minReplicas"],
        "maxReplicas": EXTENSION["maxReplicas"],
        "scaleTarget": EXTENSION["scaleTarget"],
        "scaleMetric": METRIC,
        "tolerations": POD["tolerations"],
        "nodeSelector": POD["nodeSelector"],
        "nodeName": POD["nodeName"],
        "serviceAccountName": POD["serviceAccountName"],
    },
    "Several models as one.",
    required=["nodes"],
)

PARALLELISM = part(
    {name: whole(minimum=1) for name in ["tensor", "pipeline", "data", "dataLocal", "dataRPCPort"]} | {"expert": flag()},
    "How a model is spread over devices.",
)

WORKLOAD = {
    "replicas": whole("How many Pods serve.", minimum=0),
    "scaling": part(
        {"minReplicas": whole(minimum=1), "maxReplicas": whole(minimum=1)},
        "How many Pods serve, by what they have to do.",
    ),
    "parallelism": PARALLELISM,
    "labels": labels("Labels of the Pods."),
    "annotations": labels("Annotations of the Pods."),
    "template": part(POD, "The Pod that serves."),
    "worker": anything("More Pods of a replica."),
    "rolloutStrategy": anything("How Pods are replaced."),
    "kvCacheOffloading": anything("Where the cache goes that does not fit."),
}


def llm_spec(required):
    # A service's own Pod is described; that of a configuration is alike.
    workload = WORKLOAD if required else {**WORKLOAD, "template": anything("The Pod that serves.")}
    return part(
        {
            "model": part(
                {
                    "uri": text("Where the model is: hf://, s3://, pvc:// or oci://."),
                    "name": text("The name in requests. By default the object's."),
                    "criticality": text("Critical, Standard or Sheddable."),
                    "lora": part(
                        {"adapters": items(anything()), "maxRank": whole(), "maxAdapters": whole(), "maxCpuAdapters": whole()},
                        "Adapters of the model.",
                    ),
                },
                "The model.",
                required=["uri"] if required else (),
            ),
            **workload,
            "storageInitializer": part({"enabled": flag()}, "Whether the model is fetched."),
            "runtime": text("A ServingRuntime or ClusterServingRuntime that gives the Pod."),
            "trustRemoteCode": flag("Whether code of the model's repository may run."),
            "router": part(
                {
                    "route": anything("How the service is reached."),
                    "gateway": anything("Through which gateways."),
                    "ingress": anything("Through which Ingresses."),
                    "scheduler": anything("Which Pod gets a request."),
                },
                "How the service is reached.",
            ),
            "prefill": part({**WORKLOAD, "template": anything("The Pod that reads.")}, "Pods that read prompts, apart from those that write."),
            "tracing": part(
                {name: text() for name in ["exporterEndpoint", "sampler", "samplerArg", "exporter"]},
                "Whether and where traces are sent.",
            ),
            "baseRefs": items(
                part({"name": text("An LLMInferenceServiceConfig.")}), "What the spec builds on; later ones go before earlier."
            ),
        },
        "A language model that should be served.",
        required=["model"] if required else (),
    )


LLM_STATUS = part(
    {
        **STATUS,
        "url": text("Where the service answers."),
        "address": ADDRESS,
        "addresses": items(part({"url": text(), "name": text()}), "Everywhere that the service answers."),
        "router": anything("What the service is reached through."),
        "workloads": anything("What serves."),
        "appliedConfigs": items(
            part({"name": text(), "namespace": text(), "source": text()}), "What the spec was built on."
        ),
    },
    "What came of it.",
)


def column(name, path, kind="string", **more):
    return {"jsonPath": path, "name": name, "type": kind, **more}


READY = column("Ready", ".status.conditions[?(@.type=='Ready')].status")
REASON = column("Reason", ".status.conditions[?(@.type=='Ready')].reason")
URL = column("URL", ".status.url")
AGE = column("Age", ".metadata.creationTimestamp", "date")

TRAFFIC = ".status.components.predictor.traffic"
PREVIOUS = f"{TRAFFIC}[?(@.tag=='prev')]"
LATEST = f"{TRAFFIC}[?(@.latestRevision==true)]"

SERVICE_COLUMNS = [
    URL,
    READY,
    column("Prev", f"{PREVIOUS}.percent", "integer"),
    column("Latest", f"{LATEST}.percent", "integer"),
    column("PrevRolledoutRevision", f"{PREVIOUS}.revisionName"),
    column("LatestReadyRevision", f"{LATEST}.revisionName"),
    AGE,
]

RUNTIME_COLUMNS = [
    column("Disabled", ".spec.disabled", "boolean"),
    column("ModelType", ".spec.supportedModelFormats[*].name"),
    column("Containers", ".spec.containers[*].name"),
    AGE,
]

LLM_COLUMNS = [URL, READY, REASON, AGE, column("URLs", ".status.addresses[*].url", priority=1)]


def version(name, columns, spec, status, storage=True, subresource=True):
    entry = {"name": name, "served": True, "storage": storage, "additionalPrinterColumns": columns}
    if subresource:
        entry["subresources"] = {"status": {}}
    properties = {
        "apiVersion": text(),
        "kind": text(),
        "metadata": field("object"),
        "spec": spec,
        "status": status,
    }
    entry["schema"] = {"openAPIV3Schema": field("object", properties=properties)}
    return entry


def definition(kind, plural, versions, scope="Namespaced", short=None):
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    if short:
        names["shortNames"] = [short]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": scope, "names": names, "versions": versions},
    }


NOTHING = field("object")

DEFINITIONS = [
    definition(
        "InferenceService",
        "inferenceservices",
        [version("v1beta1", SERVICE_COLUMNS, INFERENCE_SERVICE, SERVICE_STATUS)],
        short="isvc",
    ),
    definition(
        "ServingRuntime",
        "servingruntimes",
        [version("v1alpha1", RUNTIME_COLUMNS, SERVING_RUNTIME, NOTHING, subresource=False)],
    ),
    definition(
        "ClusterServingRuntime",
        "clusterservingruntimes",
        [version("v1alpha1", RUNTIME_COLUMNS, SERVING_RUNTIME, NOTHING, subresource=False)],
        scope="Cluster",
    ),
    definition(
        "TrainedModel",
        "trainedmodels",
        [version("v1alpha1", [URL, READY, AGE], TRAINED_MODEL, part({**STATUS, "url": text(), "address": ADDRESS}))],
        short="tm",
    ),
    definition(
        "InferenceGraph",
        "inferencegraphs",
        [
            version(
                "v1alpha1",
                [URL, READY, AGE],
                INFERENCE_GRAPH,
                part({**STATUS, "url": text(), "deploymentMode": text()}),
            )
        ],
        short="ig",
    ),
    definition(
        "LLMInferenceService",
        "llminferenceservices",
        [
            version("v1alpha1", LLM_COLUMNS, llm_spec(True), LLM_STATUS, storage=False),
            version("v1alpha2", LLM_COLUMNS, llm_spec(True), LLM_STATUS),
        ],
        short="llmisvc",
    ),
    definition(
        "LLMInferenceServiceConfig",
        "llminferenceserviceconfigs",
        [
            version("v1alpha1", [READY, REASON, AGE], llm_spec(False), part(STATUS), storage=False),
            version("v1alpha2", [READY, REASON, AGE], llm_spec(False), part(STATUS)),
        ],
    ),
]


class Plain(yaml.SafeDumper):
    """Repeats what occurs twice, in place of naming it."""

    def ignore_aliases(self, data):
        return True


def main():
    for crd in DEFINITIONS:
        body = yaml.dump(crd, Dumper=Plain, sort_keys=False, width=110, allow_unicode=True)
        path = HERE / f"{crd['spec']['names']['plural']}.yaml"
        path.write_text(f"# Written by generate.py.\n{body}")


if __name__ == "__main__":
    main()
