#!/bin/bash
# Two nodes with 8 GPUs each: sbatch examples/slurm/two_nodes.sh CONFIG FOLDER. Not run here: no cluster was there.
#SBATCH --job-name=sharpening
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@600
set -euo pipefail
config=$1
folder=$2
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=600
export OMP_NUM_THREADS=8
# The folder has to be one that both nodes see. The same line goes on from the last checkpoint.
srun bash -c "accelerate launch --config_file examples/accelerate/fsdp2.yaml \
  --num_machines $SLURM_NNODES --num_processes $((SLURM_NNODES * 8)) --machine_rank \$SLURM_NODEID \
  --main_process_ip $head --main_process_port 29500 \
  paper_repro.py llm $config --folder $folder"
