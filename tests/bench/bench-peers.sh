#!/bin/sh
# make bench-peers: the same work with PEFT and llama.cpp, in turns with ours. Environment: BUILD MODEL; packages in $BUILD/peers.
set -eu
cd "$(dirname "$0")/../.."
make --no-print-directory peers
exec python3 tests/bench/peers.py
