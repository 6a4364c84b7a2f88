#!/bin/sh
# DeepSpeed on CPUs asks how many devices there are by starting the program `numactl`, and ZeRO-3 asks again in each
# training step, for each bucket of gradients that it reduces: a process is started and ended every time. With LOCAL_SIZE
# in the environment no process is started. (accelerator/cpu_accelerator.py, device_count; utils/numa.py, get_numa_cores.)
# Counted by a `numactl` of ours that comes first on the PATH. Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet 'torch==2.13.0' deepspeed==0.19.8 psutil numpy setuptools
mkdir "$work/bin"
printf '#!/bin/sh\necho started >> "%s/starts"\nexit 1\n' "$work" > "$work/bin/numactl"
chmod +x "$work/bin/numactl"
cat > "$work/finding.py" <<'PYTHON'
import os
import pathlib
import sys
from importlib.metadata import version

import deepspeed
import torch

starts = pathlib.Path(sys.argv[1])


def count():
    return len(starts.read_text().splitlines()) if starts.exists() else 0


deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # serves inference alone
deepspeed.init_distributed(dist_backend="gloo")
layers = [torch.nn.Linear(8, 8) for _ in range(int(sys.argv[2]))]
settings = {
    "train_micro_batch_size_per_gpu": 1,
    "zero_optimization": {"stage": 3, "reduce_bucket_size": 64},
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
}
engine = deepspeed.initialize(model=torch.nn.Sequential(*layers), config=settings)[0]
of_steps = []
for _ in range(3):
    before = count()
    engine.backward(engine(torch.ones(1, 8)).sum())
    engine.step()
    of_steps.append(count() - before)
print("deepspeed", version("deepspeed"), "LOCAL_SIZE", os.environ.get("LOCAL_SIZE"), "layers", sys.argv[2], of_steps)
PYTHON
unset LOCAL_SIZE
export DS_ACCELERATOR=cpu RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29417
PATH="$work/bin:$work/venv/bin:$PATH"
export PATH
for layers in 2 4; do
    rm -f "$work/starts"
    python "$work/finding.py" "$work/starts" $layers 2>> "$work/errors" | grep LOCAL_SIZE | tee -a "$work/output"
    rm -f "$work/starts"
    LOCAL_SIZE=1 python "$work/finding.py" "$work/starts" $layers 2>> "$work/errors" | grep LOCAL_SIZE | tee -a "$work/output"
done
cat > "$work/expected" <<'OUTPUT'
deepspeed 0.19.8 LOCAL_SIZE None layers 2 [4, 4, 4]
deepspeed 0.19.8 LOCAL_SIZE 1 layers 2 [0, 0, 0]
deepspeed 0.19.8 LOCAL_SIZE None layers 4 [8, 8, 8]
deepspeed 0.19.8 LOCAL_SIZE 1 layers 4 [0, 0, 0]
OUTPUT
diff "$work/expected" "$work/output" && echo "as it was seen"
