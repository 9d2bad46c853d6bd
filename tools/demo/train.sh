#!/bin/sh
# train.sh PYTHON [arguments of train.py]: the environment that made training twice as fast on two cores.
# Kernels made for each shape live on; freed memory is kept; threads do not spin while others need the cores.
python=$1
shift
export ONEDNN_PRIMITIVE_CACHE_CAPACITY=8192 LRU_CACHE_CAPACITY=8192
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456
export OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=1
exec "$python" "$(dirname "$0")/train.py" "$@"
