#!/bin/sh
# Installs this clone into a virtual environment: sh install.sh VENV auto|cpu|cuda
#
# torch comes with CUDA's libraries (4.1 GB), or without them where no GPU is found. The build without them
# lies on PyTorch's own index, which uv knows by the word "cpu"; where that cannot be reached, auto takes the whole
# one and cpu fails. Called by `make install`; `sh install.sh --choose auto` only prints what would be chosen.
set -eu

choose() {
  case "$1" in
    cpu | cuda) echo "$1" ;;
    auto)
      # only Linux has wheels with CUDA on the default index; elsewhere there is one build
      if [ "$(uname -s)" != Linux ] || { command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; }; then
        echo cuda
      else
        echo cpu
      fi ;;
    *) echo "TORCH=$1 is none of auto, cpu and cuda; write make install TORCH=cpu" >&2; exit 2 ;;
  esac
}

if [ "$1" = --choose ]; then choose "$2"; exit; fi

venv=$1
bin="$venv/bin"
torch=$(choose "$2")
pip() { "$bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

# the two packages of the lock, name==version
of_torch() { grep -E '^(torch|torchvision)==' requirements-cpu.lock | cut -d ' ' -f 1; }

# GB that are free where the environment is made; pip unpacks before it moves
needs() {
  free=$(df -Pk "$venv" | awk 'NR == 2 { print int($4 / 1048576) }')
  if [ "$free" -lt "$1" ]; then
    echo "$1 GB of disk are needed while this installs, and $free GB are free at $venv" >&2
    exit 1
  fi
}

if [ "$torch" = cpu ]; then
  needs 5
  echo "installing, with torch for CPUs: some minutes"
  pip install uv
  # shellcheck disable=SC2046  # two words
  if said=$("$bin/uv" pip install --quiet --python "$bin/python" --no-deps --torch-backend cpu $(of_torch) 2>&1); then
    # all others, and nothing that they ask for besides: the lock is whole, and torch is there
    grep -vE '^(torch|torchvision)==' requirements-cpu.lock > "$1/others.lock"
    pip install --no-deps --requirement "$1/others.lock"
  elif [ "$2" = cpu ]; then
    echo "$said" >&2
    echo "torch for CPUs cannot be fetched here (above); make install TORCH=cuda installs the one with CUDA, 8 GB" >&2
    exit 1
  else
    echo "torch for CPUs cannot be fetched here ($(echo "$said" | tail -n 1 | sed 's/^ *cause: //')); taking the one with CUDA"
    torch=cuda
  fi
fi
if [ "$torch" = cuda ]; then
  needs 11
  echo "installing, with torch for CUDA, 8 GB: two to nine minutes"
  pip install --requirement requirements.lock
fi
pip install --no-deps --no-build-isolation --editable .
echo "$torch" > "$venv/torch"
echo "installed; next: source $venv/bin/activate"
