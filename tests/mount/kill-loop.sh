# a seeded handful of the rounds of tests/fault/kill-loop.sh
exec python3 "$(dirname "$0")/../fault/kill_loop.py" 8 20261123
