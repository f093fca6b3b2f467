# SIGKILL at each system call of the state changes, and inside the recovery
. tests/fault/lib.sh
make_shout
python3 tests/fault/kill_points.py "$(amount 1800 35000)" "$SEED" "$D"
