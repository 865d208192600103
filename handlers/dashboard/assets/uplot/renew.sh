#!/bin/sh
# Renews the copy of uPlot in this directory from npm: ./renew.sh [version].
# VERSION and go test ./handlers/dashboard say which files belong together.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm pack --silent --pack-destination "$work" "uplot@${1:-latest}" > /dev/null
tar -xzf "$work"/uplot-*.tgz -C "$work"
cp "$work/package/LICENSE" "$work/package/dist/uPlot.iife.min.js" "$work/package/dist/uPlot.min.css" .
sed -n 's/.*"version": "\([^"]*\)".*/\1/p' "$work/package/package.json" > VERSION
cat VERSION
