# The commands in an image, for a CPU or for an NVIDIA GPU:
#
#   docker build --tag vqa-twostage .
#   docker build --tag vqa-twostage --build-arg TORCH=cuda .
#   docker run --rm --volume "$PWD:/data" vqa-twostage vqa-fuse score /data/clip.mp4
#
# With a GPU add --gpus all. Features and networks are kept in /data/.cache; run with --user "$(id -u)" so that
# what is written there is yours.
FROM python:3.12-slim

ARG TORCH=cpu
WORKDIR /opt/vqa-twostage

# what is installed first changes least
COPY requirements.lock requirements-cpu.lock install.sh setup.cfg pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY extract extract
COPY fuse fuse
COPY data_manifests data_manifests
COPY vqa_twostage vqa_twostage
RUN python -m venv .venv && sh install.sh .venv "$TORCH" && rm -rf /root/.cache

ENV PATH=/opt/vqa-twostage/.venv/bin:$PATH \
    XDG_CACHE_HOME=/data/.cache \
    HF_HOME=/data/.cache/huggingface
WORKDIR /data
USER 1000
CMD ["vqa-fuse", "--help"]
