// Vectors writes bodies.json: objects as Kubernetes' own protobuf and JSON serializers write them.
//
// Run it in a module that requires k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver of the version that
// src/protobuf/facts.txt was made from: go run vectors.go > bodies.json
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// The objects, as JSON: what is left out of one stays unset in the Go value, so both encodings show what Go makes of it.
var objects = []string{
	`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"team"}}`,
	`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"n","labels":{"a":"b","":"x"},"annotations":{"k":""}},"data":{"key":"välue\n","empty":""},"binaryData":{"raw":"AP8Q"},"immutable":false}`,
	`{"apiVersion":"v1","kind":"ConfigMap"}`,
	`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","creationTimestamp":"2026-05-01T10:20:30Z","deletionTimestamp":"1969-12-31T23:59:59Z","deletionGracePeriodSeconds":0,"generation":3,"uid":"u","resourceVersion":"7","finalizers":["f/x"],"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"1","controller":true,"blockOwnerDeletion":false}],"managedFields":[{"manager":"m","operation":"Update","apiVersion":"v1","time":"2026-05-01T10:20:30Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:a":{}}}}]},"data":{"a":"aGVsbG8=","e":""},"stringData":{"b":"c"},"type":"Opaque"}`,
	`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","generateName":"p-"},"spec":{"containers":[{"name":"c","image":"i:1","command":["sh","-c"],"args":[""],"env":[{"name":"A","value":""},{"name":"B","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},{"name":"C","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],"envFrom":[{"secretRef":{"name":"x","optional":true}}],"ports":[{"containerPort":80,"name":"http","protocol":"TCP"}],"resources":{"limits":{"cpu":"500m","memory":"1Gi","nvidia.com/gpu":"1"},"requests":{"cpu":"0"}},"livenessProbe":{"httpGet":{"path":"/","port":"http","httpHeaders":[{"name":"h","value":"v"}]},"periodSeconds":5},"readinessProbe":{"tcpSocket":{"port":8080}},"securityContext":{"runAsUser":0,"runAsNonRoot":false,"capabilities":{"drop":["ALL"]}},"volumeMounts":[{"name":"v","mountPath":"/v","readOnly":true}],"lifecycle":{"preStop":{"sleep":{"seconds":0}}}},{"name":"bare"}],"initContainers":[{"name":"i","restartPolicy":"Always"}],"ephemeralContainers":[{"name":"e","image":"x","targetContainerName":"c"}],"volumes":[{"name":"v","emptyDir":{}},{"name":"w","secret":{"secretName":"s","defaultMode":420,"items":[{"key":"k","path":"p","mode":0}]}},{"name":"x","projected":{"sources":[{"serviceAccountToken":{"path":"t","expirationSeconds":3600}}]}},{"name":"y","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Ti"}}}}}}],"securityContext":{"supplementalGroups":[1,-2,9223372036854775807],"fsGroup":-5,"sysctls":[{"name":"a","value":"b"}]},"tolerations":[{"operator":"Exists","tolerationSeconds":-1}],"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}]}}},"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"a":"b"}}}],"terminationGracePeriodSeconds":0,"enableServiceLinks":false,"hostNetwork":true,"overhead":{"cpu":"250m"},"nodeSelector":{"disk":"ssd"},"imagePullSecrets":[{"name":"r"}]},"status":{"phase":"Running","startTime":"2026-05-01T10:20:30Z","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"c","ready":true,"restartCount":0,"image":"i","imageID":"","state":{"terminated":{"exitCode":-1}},"lastState":{}}]}}`,
	`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"none"}}`,
	`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j"},"spec":{"parallelism":0,"completions":2,"backoffLimit":6,"template":{"metadata":{},"spec":{"containers":[{"name":"c","image":"i"}],"restartPolicy":"Never"}},"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]},{"action":"FailJob","onExitCodes":{"operator":"In","values":[1,200]}}]}}}`,
	`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"d"}},"template":{"metadata":{"labels":{"app":"d"}},"spec":{"containers":[{"name":"c","image":"i"}]}},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0}}}}`,
	`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"bare"}}`,
	`{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"s"},"spec":{"serviceName":"s","selector":{"matchExpressions":[{"key":"a","operator":"Exists"}]},"template":{},"volumeClaimTemplates":[{"metadata":{"name":"v"},"spec":{"resources":{"requests":{"storage":"10Mi"}}}}]}}`,
	`{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"r"},"data":{"spec":{"template":[1,2.5,"x",null]}},"revision":0}`,
	`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"sa"},"secrets":[{"name":"s"}],"automountServiceAccountToken":false}`,
	`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":[{"verbs":["get","*"],"apiGroups":[""],"resources":["pods/log"],"resourceNames":["x"]},{"verbs":[]}]}`,
	`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"none"}}`,
	`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"b"},"subjects":[{"kind":"User","name":"u","apiGroup":"rbac.authorization.k8s.io"}],"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"}}`,
	`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l"},"spec":{"holderIdentity":"me","leaseDurationSeconds":15,"renewTime":"2026-05-01T10:20:30.000045Z","acquireTime":"2026-05-01T10:20:30.000000Z","leaseTransitions":0}}`,
	`{"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p"},"reason":"R","message":"m","source":{"component":"c"},"firstTimestamp":"2026-05-01T10:20:30Z","count":2,"type":"Normal","series":{"count":1,"lastObservedTime":"2026-05-01T10:20:30.123456Z"}}`,
	`{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"e"},"eventTime":"2026-05-01T10:20:30.999999Z","reportingController":"c","reportingInstance":"i","action":"a","reason":"r","regarding":{"kind":"Pod"},"type":"Warning"}`,
	`{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{"uid":"u"},"propagationPolicy":"Foreground","dryRun":["All"]}`,
	`{"apiVersion":"apps/v1","kind":"DeleteOptions","orphanDependents":false}`,
	`{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"c"},"spec":{"schedule":"* * * * *","suspend":false,"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}],"restartPolicy":"OnFailure"}}}}},"status":{"lastScheduleTime":"2026-05-01T10:20:30Z"}}`,
	`{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"p"},"spec":{"minAvailable":"50%","selector":{}},"status":{"disruptedPods":{"a":"2026-05-01T10:20:30Z"},"disruptionsAllowed":1}}`,
	`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p","namespace":"n"},"deleteOptions":{"gracePeriodSeconds":5}}`,
	`{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":80,"targetPort":"http"},{"name":"b","port":81,"targetPort":0}],"selector":{"a":"b"},"type":"NodePort","clusterIP":"None","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":1}}},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4","ports":[{"port":1,"protocol":"TCP"}]}]}}}`,
	`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","metadata":{},"spec":{"audiences":["a"],"expirationSeconds":600}}`,
	`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","metadata":{},"spec":{"token":"t"},"status":{"user":{"username":"u","extra":{"a":["b","c"]}}}}`,
	`{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"s"},"spec":{"replicas":3}}`,
	`{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"h"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d"},"maxReplicas":3,"metrics":[{"type":"Pods","pods":{"metric":{"name":"m"},"target":{"type":"AverageValue","averageValue":"1500m"}}}]}}`,
	`{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","code":404,"details":{"causes":[{"reason":"r"}],"retryAfterSeconds":1}}`,
	`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"p"},"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"","resources":{"requests":{"storage":"1Gi"}}}}`,
	`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"p"},"spec":{"capacity":{"storage":"1Gi"},"hostPath":{"path":"/x","type":""}}}`,
	`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"n"},"spec":{"podSelector":{},"ingress":[{"ports":[{"port":80},{"port":"http","endPort":90}],"from":[{"ipBlock":{"cidr":"10.0.0.0/8"}}]}]}}`,
	`{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"i"},"spec":{"rules":[{"host":"h","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}},{"host":"bare"}]}}`,
	`{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"w"},"webhooks":[{"name":"a.b.c","clientConfig":{"url":"https://x","caBundle":"AAEC"},"rules":[{"operations":["CREATE"],"apiGroups":["*"],"apiVersions":["v1"],"resources":["pods"]}],"sideEffects":"None","admissionReviewVersions":["v1"]}]}`,
	`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"ts.x.y"},"spec":{"group":"x.y","names":{"plural":"ts","kind":"T"},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","required":["a"],"properties":{"a":{"type":"integer","minimum":-0.5,"maximum":10,"default":3,"enum":[3,"x",null]},"b":{"type":"array","items":{"type":"string","pattern":"^a$"}},"c":{"additionalProperties":{"type":"string"}},"d":{"additionalProperties":false,"x-kubernetes-preserve-unknown-fields":true,"x-kubernetes-validations":[{"rule":"self == oldSelf"}]}}}},"subresources":{"status":{}}}]}}`,
}

// One vector: the body in base64, and the object as JSON.
type vector struct {
	Body   string          `json:"body"`
	Object json.RawMessage `json:"object"`
}

func encode(text string) (vector, error) {
	decoder := serializer.NewCodecFactory(scheme.Scheme).UniversalDeserializer()
	object, _, err := decoder.Decode([]byte(text), nil, nil)
	if err != nil {
		return vector{}, err
	}
	body, err := runtime.Encode(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), object)
	if err != nil {
		return vector{}, err
	}
	// Read back, as a server does: an empty list and an absent one are the same on the wire.
	read, _, err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Decode(body, nil, nil)
	if err != nil {
		return vector{}, err
	}
	shown, err := json.Marshal(read)
	return vector{Body: base64.StdEncoding.EncodeToString(body), Object: shown}, err
}

func main() {
	if err := apiextensions.AddToScheme(scheme.Scheme); err != nil {
		panic(err)
	}
	metav1.AddToGroupVersion(scheme.Scheme, metav1.Unversioned)
	vectors := make([]vector, 0, len(objects))
	for _, text := range objects {
		one, err := encode(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%v: %s\n", err, text)
			os.Exit(1)
		}
		vectors = append(vectors, one)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	fmt.Println("[")
	for index, one := range vectors {
		if err := out.Encode(one); err != nil {
			panic(err)
		}
		if index+1 < len(vectors) {
			fmt.Println(",")
		}
	}
	fmt.Println("]")
}
