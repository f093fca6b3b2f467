# errors at every system call the store makes, and failed allocations, in each of its state changes
. tests/fault/lib.sh
make_shout
calls=$("$BUILD/fault/inject" "$D/store" "$D/shout.kolm" errno "$(amount 24500 0)" "$SEED") || { echo "$calls"; echo "seed $SEED"; exit 1; }
rm -rf "$D"/store/{tune,rag,logs,.lost}
allocs=$("$BUILD/fault/inject" "$D/store" "$D/shout.kolm" alloc "$(amount 7500 0)" "$SEED") || { echo "$allocs"; echo "seed $SEED"; exit 1; }
echo "inject: $calls; $allocs (seed $SEED)"
