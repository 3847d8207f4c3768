#!/bin/bash
# The painter's training on a machine that is lent for minutes: gpu_training.sh MINUTES [cpu]
#
# Before it: tools/pack_training.py --out runs/gpu, and wheels of what is missing there in runs/gpu/wheels (constriction). What is to be taken
# home is left in $OUT: the painter, the log, and the checkpoint in parts of 15 MiB to go on from. `cpu` is the dry run: the
# same path with tiny settings.
set -eu
minutes=$1 device=${2:-cuda} out=${OUT:-runs/gpu/home}
cd "$(dirname "$0")/.."
mkdir -p "$out" runs/gpu/out/export
python -c "import constriction, safetensors, threadpoolctl, yaml, cv2" 2>/dev/null ||
    python -m pip install --quiet --no-index --find-links runs/gpu/wheels constriction safetensors threadpoolctl pyyaml opencv-python-headless
cp models/nano/*.safetensors runs/gpu/out/export/
config=config/train_painter.yaml
if [ "$device" = cpu ]; then
    sed -E 's/(batch): .*/\1: 2/; s/(large): .*/\1: 1/; s/(crop): .*/\1: 64/; s/(save_every): .*/\1: 5/; s/(workers): .*/\1: 0/; s/(graph): .*/\1: false/; s#runs/gpu/train#runs/gpu/val#' "$config" >runs/gpu/dry.yaml
    config=runs/gpu/dry.yaml
else
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
fi
PYTHONPATH=. python -m gsc_ros.cli.main train nano --config "$config" --stage painter --minutes "$minutes" --device "$device" 2>&1 | tee "$out/log"
cp runs/gpu/out/export/painter.safetensors "$out/"
split -b 15M runs/gpu/out/painter.pt "$out/painter.pt."
