#!/usr/bin/env bash
# What the browser tests drive: Chromium of this system (of Debian, where this may install it), and playwright-core and axe-core
# from npm, pinned, in the folder that is given. Says so and ends with 1 where one of them cannot be had.
set -euo pipefail
into=$1
command -v node >/dev/null && command -v npm >/dev/null || { echo "browser tests need node and npm"; exit 1; }
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "browser tests need Chromium: install chromium"; exit 1; }
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } >"$into.log" 2>&1 ||
        { tail -5 "$into.log"; exit 1; }
fi
mkdir -p "$into"
[ -d "$into/node_modules/axe-core" ] || npm install --silent --no-audit --no-fund --prefix "$into" playwright-core@1.56.1 axe-core@4.10.3
