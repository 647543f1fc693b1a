# The image of every node of cluster.yaml. Not built by the tests: there is no docker engine where they run.
#
#   docker build -t 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mangahue:0.1.0 .     # the name in cluster.yaml
#
# A plain Python image: torch's wheels carry CUDA, the host's NVIDIA driver and container runtime do the rest.
FROM python:3.11-slim-bookworm

# libarchive and unar read archives. The launcher copies files into the container with rsync, and the head's autoscaler reaches workers with ssh and rsync.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libarchive13 openssh-client procps rsync unar \
 && rm -rf /var/lib/apt/lists/*

# Ray must be the same on every node and where the cluster is launched. Dependencies are read from pyproject.toml, and come
# before the code: a change of code does not install them again.
ARG RAY_VERSION=2.60.0
WORKDIR /app
COPY pyproject.toml ./
RUN python -c "import tomllib; it = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*it['dependencies'], *it['optional-dependencies']['cpu'], sep='\n')" > /tmp/requirements.txt \
 && echo "ray==${RAY_VERSION}" > /tmp/constraints.txt \
 && pip install --no-cache-dir -r /tmp/requirements.txt -c /tmp/constraints.txt

COPY jobs jobs
COPY models models
COPY imaging imaging
COPY datasets datasets

ENV PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
