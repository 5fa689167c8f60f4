#!/usr/bin/env bash
# Starts etcd and a real kube-apiserver in DIR and waits until it is ready. Writes DIR/kubeconfig (cluster admin) and
# DIR/pids. Usage: start.sh DIR [PORT]; stop with stop.sh DIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$1 port=${2:-16443}
cache=${PURLIN_CACHE:-$HOME/.cache/purlin}
"$here/build.sh"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
: > "$dir/pids"
etcd_port=$((port + 1)) peer_port=$((port + 2))
"$cache/bin/etcd" --data-dir "$dir/etcd" --log-level error \
  --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
  --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
  --initial-cluster "default=http://127.0.0.1:$peer_port" > "$dir/etcd.log" 2>&1 &
echo $! >> "$dir/pids"
[ -e "$dir/sa.key" ] || openssl genrsa -out "$dir/sa.key" 2048 2>/dev/null
# An authority for client certificates, and the one that the API server shows to nodes when it reads logs.
if [ ! -e "$dir/kubelet-client.crt" ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=clients -keyout "$dir/client-ca.key" -out "$dir/client-ca.crt" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj /O=system:masters/CN=kube-apiserver-kubelet-client \
    -keyout "$dir/kubelet-client.key" -out "$dir/kubelet-client.csr" 2>/dev/null
  openssl x509 -req -days 30 -in "$dir/kubelet-client.csr" -CA "$dir/client-ca.crt" -CAkey "$dir/client-ca.key" \
    -CAcreateserial -extfile <(printf 'extendedKeyUsage=clientAuth') -out "$dir/kubelet-client.crt" 2>/dev/null
fi
token=real-admin-token
echo "$token,admin,admin,system:masters" > "$dir/tokens.csv"
"$cache/bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" \
  --bind-address 127.0.0.1 --secure-port "$port" --cert-dir "$dir/certs" \
  --token-auth-file "$dir/tokens.csv" --authorization-mode RBAC --disable-admission-plugins ServiceAccount \
  --service-account-key-file "$dir/sa.key" --service-account-signing-key-file "$dir/sa.key" \
  --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.96.0.0/16 \
  --client-ca-file "$dir/client-ca.crt" --kubelet-preferred-address-types InternalIP \
  --kubelet-client-certificate "$dir/kubelet-client.crt" --kubelet-client-key "$dir/kubelet-client.key" \
  > "$dir/apiserver.log" 2>&1 &
echo $! >> "$dir/pids"
cat > "$dir/kubeconfig" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: real, cluster: {server: "https://127.0.0.1:$port", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: real, context: {cluster: real, user: admin}}]
current-context: real
CONFIG
for _ in $(seq 300); do
  # Another server on the same port would answer instead.
  for pid in $(cat "$dir/pids"); do
    kill -0 "$pid" 2>/dev/null || { echo "etcd or kube-apiserver ended at once; see $dir/*.log" >&2; exit 1; }
  done
  if curl -sk --max-time 2 "https://127.0.0.1:$port/readyz" -H "Authorization: Bearer $token" 2>/dev/null | grep -q '^ok'; then
    exit 0
  fi
  sleep 0.1
done
echo "kube-apiserver on port $port was not ready in 30 s; see $dir/apiserver.log" >&2
exit 1
