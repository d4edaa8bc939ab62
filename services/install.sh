#!/bin/sh
# Install torch alone or one extra of this project, in the tested versions, into the environment of the given Python:
#   services/install.sh .venv/bin/python torch|EXTRA[,EXTRA] [--editable]
# Where no NVIDIA GPU is found, torch is the CPU build (200 MB, not 900 MB and CUDA): taken from TORCH_INDEX when that answers,
# else from the usual package index. TORCH_INDEX= (empty) always takes the usual one.
set -eu
python=$1 extra=$2 editable=${3-}
here=$(cd "$(dirname "$0")/.." && pwd)
torch=$(grep '^torch==' "$here/constraints.txt")

if [ -z "${TORCH_INDEX+set}" ]; then
    TORCH_INDEX=https://download.pytorch.org/whl/cpu
    if nvidia-smi -L >/dev/null 2>&1; then TORCH_INDEX=; fi
fi

index_answers() {
    "$python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + "/torch/", timeout=5)' "$1" 2>/dev/null
}

if [ "$extra" != sim ] && [ "$extra" != docs ] && [ -n "$TORCH_INDEX" ] && index_answers "$TORCH_INDEX"; then
    "$python" -m pip install --quiet --quiet --no-deps --index-url "$TORCH_INDEX" "$torch"
fi
case $extra in
    torch) set -- "$torch" ;;
    # Both distributions at once: pip takes the client from its folder and looks for it nowhere else.
    *) set -- $editable "$here/grasp_client" $editable "$here[$extra]" ;;
esac
"$python" -m pip install --quiet --quiet -c "$here/constraints.txt" "$@"
