# the soak's clients at ten times their pace: the work of ten minutes in one (of eight hours in 48 minutes with LONG=1)
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/mnt" 2>/dev/null; rm -rf "$D"' EXIT
python3 tests/fault/mounted.py haste "$(amount 60 2880)" "$SEED" "$D"
