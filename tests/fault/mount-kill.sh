# a mounted server is killed under load and mounted again
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/piece/mnt" 2>/dev/null; rm -rf "$D"' EXIT
in_pieces "$(amount 50 5000)" 250 python3 tests/fault/mounted.py kill
paste -sd ';' "$D/said"
