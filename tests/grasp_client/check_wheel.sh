#!/usr/bin/env bash
# Builds grasploop-client (sdist, and the wheel from it), installs the wheel into an empty environment of another Python than the
# services', and uses it in a folder with a `shared` package of its own. Says so and ends with 0 where no such Python is installed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)

another_python() {
    local candidate
    for candidate in python3.13 python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[23].*/bin/python; do
        # A pyenv shim lies on the path even where the version behind it is not the chosen one: what counts is that it runs.
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

python=$(another_python) || { echo "skipped: neither Python 3.12 nor 3.13 is installed here"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH

# From what git knows: nothing that lies about in the checkout can mend a file that is not in the distribution.
mkdir "$work/source" "$work/outside"
git -C "$project" ls-files -z --cached --others --exclude-standard grasp_client |
    tar -C "$project" --null --files-from=- --create | tar -C "$work/source" --extract
"$python" -m venv "$work/builder"
"$work/builder/bin/pip" install --quiet --quiet build 'setuptools>=77'
"$work/builder/bin/python" -m build --no-isolation --outdir "$work/dist" "$work/source/grasp_client" >"$work/build.log" 2>&1 ||
    { cat "$work/build.log"; exit 1; }

"$python" -m venv "$work/environment"
"$work/environment/bin/pip" install --quiet --quiet "$work"/dist/*.whl
mkdir "$work/outside/shared"
echo 'raise RuntimeError("this is the shared package of somebody else")' >"$work/outside/shared/__init__.py"
cp "$here/use_wheel.py" "$work/outside/"
cd "$work/outside"
"$work/environment/bin/python" use_wheel.py "$work"/dist/*.whl "$work/source/grasp_client"
echo "grasploop-client works on $("$python" --version) with $("$work/environment/bin/pip" list --format=freeze | paste -sd ' ')"
