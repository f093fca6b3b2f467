#!/bin/bash
# the examples' data: enough rows and cases, each output follows from its text, no case near a row
exec python3 "$(dirname "$0")/../../tools/check-examples.py"
