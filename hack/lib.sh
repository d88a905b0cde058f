# Sourced by every command here: words on stderr, the cache, builds.
# shellcheck shell=bash
#
# The cache holds what costs minutes to make, outside of the clone and keyed by content, so that a fresh
# clone on a used machine is quick and on a new machine still right:
#   envoy-KEY grpcurl-KEY kube-KEY bundle-KEY helm-KEY conformance-KEY argo-KEY machete-KEY deny-KEY   finished tools, never changed once there
#   image-NAME-KEY node-images-KEY   container images, likewise
#   build/KEY-CLONE                  cargo's intermediate files
#   cluster                          the state of hack/cluster, while it is up
# Two clones never share one build directory: cargo tells fresh from stale by the times of files relative
# to the workspace, and takes one clone's objects for the other's. A new clone starts from a hard-linked
# copy of a sibling's, without the objects of the workspace itself; cargo's own fingerprints tell which of
# the dependencies' objects still fit.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
readonly root cache
readonly command_name=${0##*/}

say() { printf '%s: %s\n' "$command_name" "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The comment at the head of the command is its help.
help_from_header() { sed -n '2,/^$/s/^# \{0,1\}//p' "$root/hack/$command_name"; }

digest() { sha256sum | cut -c1-16; }

# Of files below a directory: names and contents.
digest_of() { # DIRECTORY
  (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | digest
}

# Makes a cache entry once: `MAKER DIRECTORY` fills a temporary directory that is then renamed. The lock
# only spares double work; two that race anyway each make a whole one, and the first to rename wins.
cached() { # NAME-KEY MAKER
  local entry=$cache/$1 maker=$2 fresh
  if [[ ! -d $entry ]]; then
    mkdir -p "$cache"
    exec 9>"$cache/.$1.lock"
    if have flock; then flock 9; fi
    if [[ ! -d $entry ]]; then
      fresh=$(mktemp -d "$cache/.$1.XXXXXX")
      if ! "$maker" "$fresh" >&2 9>&-; then
        rm -rf "$fresh"
        die "could not make $1"
      fi
      chmod 755 "$fresh"
      mv -T "$fresh" "$entry" 2>/dev/null || rm -rf "$fresh"
    fi
    exec 9>&-
  fi
  printf '%s\n' "$entry"
}

# --- cargo -------------------------------------------------------------------

# A CARGO_TARGET_DIR of the caller's stays as it is.
use_shared_builds() {
  if [[ -n ${CARGO_TARGET_DIR:-} ]]; then return; fi
  local key directory
  key=$(rustc -vV | digest)
  directory=$cache/build/$key-$(digest <<<"$root")
  mkdir -p "$cache/build"
  find "$cache/build" -mindepth 1 -maxdepth 1 -mtime +14 -exec rm -rf {} +
  if [[ ! -d $directory ]]; then seed "$key" "$directory"; fi
  mkdir -p "$directory"
  touch "$directory"
  export CARGO_BUILD_BUILD_DIR=$directory
}

seed() { # KEY DIRECTORY
  local sibling fresh
  sibling=$(find "$cache/build" -mindepth 1 -maxdepth 1 -name "$1-*" ! -name '*.new' -printf '%T@ %p\n' | sort -rn | sed -n '1s/^[^ ]* //p')
  if [[ -z $sibling ]]; then return; fi
  fresh=$2.$$.new
  cp -al "$sibling" "$fresh" 2>/dev/null || true # files that a running build removes meanwhile
  # A linked lock would be one lock: every clone's build would wait for all the others'.
  find "$fresh" \( -name incremental -o -name 'sluice*' -o -name 'libsluice*' -o -name '.cargo*lock*' \) -prune -exec rm -rf {} +
  mv -T "$fresh" "$2" 2>/dev/null || rm -rf "$fresh"
}

binary() { printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}/${2:-debug}/$1"; } # NAME [PROFILE]
