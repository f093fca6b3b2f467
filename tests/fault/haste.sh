# the soak's clients at ten times their pace: the work of seven to ten minutes in one (of eight hours, of every kind, in 80 minutes with LONG=1)
. tests/fault/lib.sh
make_shout
trap 'umount -l "$D/mnt" 2>/dev/null; rm -rf "$D"' EXIT
python3 tests/fault/mounted.py haste "$(amount 60 4800)" "$SEED" "$D"
