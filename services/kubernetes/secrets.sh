#!/bin/sh
# Prints the two Secrets that the manifests need, with random passwords and keys: services/kubernetes/secrets.sh | kubectl apply -f -
# Keys of robots: add `name:predict+report:key` to api_keys (docs/how_to/security.md).
set -eu
random() { od -An -N 32 -tx1 /dev/urandom | tr -d ' \n'; }
worker=$(random) admin=$(random)
cat <<MANIFEST
apiVersion: v1
kind: Secret
metadata: {name: grasploop-queue}
stringData:
  operator: $(random)
  inference_server: $(random)
  sim_worker: $(random)
  trainer_job: $(random)
  autoscaler: $(random)
---
apiVersion: v1
kind: Secret
metadata: {name: grasploop-keys}
stringData:
  api_keys: "workers:worker:$worker"
  worker_key: $worker
  admin_key: $admin
MANIFEST
