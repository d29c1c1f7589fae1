#!/usr/bin/env bash
# Makes a stand-in for the base image where no image registry can be reached: a minimal Debian with
# Python, by debootstrap from this machine's own apt sources, imported as otopilot-base.
# Needs root, debootstrap and a running Docker engine. Use: BASE_IMAGE=otopilot-base docker compose build
set -euo pipefail

name=${1:-otopilot-base}
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" "$mirror"
# Behind a proxy with a certificate authority of its own, the image must trust what this machine trusts.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
tar -C "$root" -c . | docker import \
  --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt LANG=C.UTF-8' \
  --change 'CMD ["python3"]' - "$name"
