#!/bin/sh
# Builds the guest's image with binutils alone. The same sources give the same bytes: no dates, paths or symbols.
#   guest/build.sh [output]      (default: guest/vmguest.elf)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/vmguest.elf}
case $out in /*) ;; *) out=$(pwd)/$out ;; esac
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT INT TERM
cd "$here"
objects=
for name in boot services main work commands memory params clock print pattern; do
  as --64 -mx86-used-note=no -I . -o "$tmp/$name.o" "$name.s"
  objects="$objects $tmp/$name.o"
done
# shellcheck disable=SC2086
ld -m elf_x86_64 -static -nostdlib -n -s --build-id=none -z max-page-size=4096 -T layout.ld -o "$tmp/image" $objects
chmod 644 "$tmp/image"
mv "$tmp/image" "$out"
