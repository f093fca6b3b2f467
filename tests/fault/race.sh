# a server and two command lines race on one slug
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/piece/mnt" 2>/dev/null; rm -rf "$D"' EXIT
in_pieces "$(amount 200 20000)" 500 python3 tests/fault/race.py
paste -sd ';' "$D/said"
