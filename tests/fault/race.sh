# a server and two command lines race on one slug
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/mnt" 2>/dev/null; rm -rf "$D"' EXIT
python3 tests/fault/race.py "$(amount 200 20000)" "$SEED" "$D"
