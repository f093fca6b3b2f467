# the power is cut at random moments under a store on ext4
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/disk" 2>/dev/null; rm -rf "$D"' EXIT
python3 tests/fault/power_cuts.py "$(amount 100 10000)" "$SEED" "$D"
