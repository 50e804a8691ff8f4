# The command line on a CPU, with the encoder and the versions of constraints.txt:
#   docker build -t negbench --build-arg TORCH_INDEX=URL .    (URL: PyTorch's index of CPU builds; else CUDA comes along)
#   docker run --rm -v "$PWD:/work" negbench run strategy=in_batch,hardest_neg data=my_data
FROM python:3.12-slim AS build
ARG TORCH_INDEX
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /negbench
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bench bench
COPY strategies strategies
COPY studies studies
COPY reports reports
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt \
        ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)" \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[cpu,offline]"

FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH OMP_NUM_THREADS=1 NEGBENCH_CACHE=/work/.cache/negbench
WORKDIR /work
ENTRYPOINT ["bench"]
CMD ["--help"]
