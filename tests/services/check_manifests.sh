#!/usr/bin/env bash
# Renders every overlay and component of services/kubernetes, and checks what comes out strictly against the schemas of Kubernetes
# and KEDA, in an environment of its own. Says so and ends with 0 where there is no kubectl.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
command -v kubectl >/dev/null || { echo "skipped: kubectl, which renders the manifests, is not installed here"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/environment"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$work/environment/bin/pip" install --quiet --quiet --constraint "$project/constraints.txt" kubernetes-validate cloudcoil.models.keda
"$work/environment/bin/python" "$here/check_manifests.py" "$project/services/kubernetes" "$work"
