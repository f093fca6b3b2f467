# the watch's decisions over a simulated store and clock, with seeded faults
. tests/fault/lib.sh
"$BUILD/fault/watch-sim" "$SEED" 0 "$(amount 200000 1000000)" 200 || { echo "seed $SEED"; exit 1; }
