#!/bin/sh
# make bench: speed and memory of the engine on this machine. Environment: BUILD MODEL.
set -eu
cd "$(dirname "$0")/../.."
exec python3 tests/bench/bench.py
