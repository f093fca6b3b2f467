# the power is cut at random moments under a store on ext4. In a mount namespace of its own: a copy of the mount in somebody else's would keep the dead
# file system alive
. tests/fault/lib.sh
make_shout
trap 'rm -rf "$D"' EXIT
unshare --mount --propagation private python3 tests/fault/power_cuts.py "$(amount 100 10000)" "$SEED" "$D"
