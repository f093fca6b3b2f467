# a mounted server is killed under load and mounted again
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/mnt" 2>/dev/null; rm -rf "$D"' EXIT
python3 tests/fault/mounted.py kill "$(amount 50 5000)" "$SEED" "$D"
