#!/bin/sh
# Installs this clone into a virtual environment: sh install.sh VENV auto|cpu|cuda
#
# torch comes with CUDA's libraries (4.1 GB), or without them where no GPU is found. The build without them
# lies on PyTorch's own index, which uv knows by the word "cpu"; where that cannot be reached, the whole one is
# installed. Called by `make install`; `sh install.sh --choose auto` only prints what would be chosen.
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

bin="$1/bin"
torch=$(choose "$2")
pip() { "$bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

# the two packages of the lock, name==version
of_torch() { grep -E '^(torch|torchvision)==' requirements-cpu.lock | cut -d ' ' -f 1; }

if [ "$torch" = cpu ]; then
  pip install uv
  # shellcheck disable=SC2046  # two words
  if "$bin/uv" pip install --quiet --python "$bin/python" --no-deps --torch-backend cpu $(of_torch); then
    # all others, and nothing that they ask for besides: the lock is whole, and torch is there
    grep -vE '^(torch|torchvision)==' requirements-cpu.lock > "$1/others.lock"
    pip install --no-deps --requirement "$1/others.lock"
  else
    echo "torch without CUDA's libraries cannot be fetched here (above); installing the one with them, 4.1 GB more"
    torch=cuda
  fi
fi
if [ "$torch" = cuda ]; then
  pip install --requirement requirements.lock
fi
pip install --no-deps --no-build-isolation --editable .
