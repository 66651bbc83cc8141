#!/usr/bin/env bash
# Stages as an array of jobs of SLURM, a GPU a job; docs/clusters.md says how and why. In the repo's folder, on a
# disk that all nodes share, with everything committed:
#   bash docs/slurm.sh '^train'                       without SLURM: tells the jobs, a line each
#   sbatch --array=0-11%8 docs/slurm.sh '^train'      12 jobs, 8 at a time
#   dvc repro                                         afterwards: takes what they made, runs what is left
#SBATCH --job-name=stages
#SBATCH --gpus=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=16G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%A-%a.out
set -euo pipefail
pattern=${1:?a regular expression for names of stages, as ^train}
head=${SLURM_SUBMIT_DIR:-$PWD}
cd "$head"

# A cell's training and its evaluation are one job, as in ./repro.
mapfile -t jobs < <(dvc stage list --name-only | grep -E "$pattern" | sed -E 's/^train([a-z_]*@.*)/& evaluate\1/')
number=${SLURM_ARRAY_TASK_ID:-}
[ -n "$number" ] || { printf '%s\n' "${jobs[@]}" | nl -v 0; exit; }
[ "$number" -lt "${#jobs[@]}" ] || { echo "job $number of ${#jobs[@]}: the first is 0" >&2; exit 2; }
read -ra stages <<<"${jobs[$number]}"
[ -z "$(git status --porcelain --untracked-files=no)" ] || { echo "commit first: jobs run what is committed" >&2; exit 2; }

# Each job has a clone of its own, since DVC's locks know the processes of one machine alone. A job that comes
# again, on whatever node, finds it, and in its .scratch the state from which the stage goes on.
clone=$head/.scratch/jobs/${stages[0]}
if [ ! -d "$clone" ]; then
  rm -rf "$clone.new"
  git clone --quiet "$head" "$clone.new"
  mv "$clone.new" "$clone"
fi
cache=$(dvc cache dir)
cd "$clone"
rm -rf .dvc/tmp .git/index.lock # of a job that was killed here
git fetch --quiet origin "$(git -C "$head" rev-parse HEAD)"
git reset --quiet --hard FETCH_HEAD

# One cache, in which DVC also keeps what each command made of which inputs: so nothing is copied, and the
# repo's own dvc repro finds there what was made here.
printf '[cache]\n    dir = %s\n    type = "reflink,hardlink,symlink,copy"\n' "$cache" >.dvc/config.local
dvc checkout --quiet --allow-missing --with-deps "${stages[@]}"
# The array shares out stages: the passes among them are each one job's alone, not a share of one by its number.
unset SLURM_ARRAY_TASK_ID
exec dvc repro --single-item "${stages[@]}"
