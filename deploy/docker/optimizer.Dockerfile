# The optimizer and its job service. From the root of a checkout:
#   docker build -f deploy/docker/optimizer.Dockerfile -t headtail-optimizer .
#   docker run -p 8600:8600 -v jobs:/var/lib/optimizer -v "$PWD/tls":/etc/headtail/tls:ro \
#     -v "$PWD/bundles.key":/etc/headtail/bundles.key:ro headtail-optimizer
# Callers are asked for certificates; deploy/optimizer/README.md says how they are made and what is in
# `tls`. User 10001 must be able to read the keys. Data sets belong into /var/lib/optimizer/data.
FROM python:3.12-slim-bookworm
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 UV_NO_CACHE=1
# uv, because pip takes no constraints with hashes for what has none: our own package.
RUN python -m pip install --no-cache-dir uv==0.13.8 && python -m venv /opt/optimizer
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY headtail headtail
COPY edge_agent edge_agent
COPY fog_server fog_server
COPY optimizer optimizer
RUN uv pip install --python /opt/optimizer/bin/python --constraints constraints.txt '.[optimizer,ray]' && \
    rm -rf /src && \
    useradd --uid 10001 --user-group --home-dir /var/lib/optimizer --create-home optimizer
COPY deploy/optimizer/optimizer.toml /etc/headtail/optimizer.toml
ENV HEADTAIL_DATA=/var/lib/optimizer/data
USER 10001
WORKDIR /var/lib/optimizer
VOLUME /var/lib/optimizer
EXPOSE 8600 9600
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/optimizer/bin/optimizer"]
CMD ["serve", "--config", "/etc/headtail/optimizer.toml", "--metrics", "0.0.0.0:9600", "--log-format", "json"]
HEALTHCHECK --start-period=120s --interval=30s CMD ["/opt/optimizer/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9600/livez', timeout=5)"]
