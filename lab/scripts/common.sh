# Sourced by ./panacea and ./test: finds the SDK, builds and caches the native binary. Sets no shell options.

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 DOTNET_GENERATE_ASPNET_CERTIFICATE=false
# Builds leave a compiler server behind for a while: every build's output goes to a file, so that it holds nobody's pipe open.
export MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0

panacea_cache=${XDG_CACHE_HOME:-$HOME/.cache}/panacea

say() { printf '%s\n' "$*" >&2; }
die() { say "panacea: $*"; exit 1; }

# Puts a .NET 10 SDK on PATH as "dotnet", or says what to do.
need_sdk() {
  local candidate
  for candidate in dotnet "${DOTNET_ROOT:-/nonexistent}/dotnet" "$HOME/.dotnet/dotnet" /usr/share/dotnet/dotnet /usr/lib/dotnet/dotnet; do
    if command -v "$candidate" > /dev/null 2>&1 && (cd / && "$candidate" --list-sdks 2> /dev/null) | grep -q '^10\.'; then
      case $candidate in */*) PATH=$(dirname "$candidate"):$PATH ;; esac
      return 0
    fi
  done
  say "panacea: the .NET 10 SDK is needed to build Panacea, and it is not installed."
  say "  Install it (package dotnet-sdk-10.0, or the installer from Microsoft's .NET pages) and run this again."
  exit 1
}

# packages_for PROGRAM...: the Debian packages of those that are missing.
packages_for() {
  local program
  for program; do
    command -v "$program" > /dev/null 2>&1 && continue
    case $program in
      objcopy) echo binutils ;;
      *) echo "$program" ;;
    esac
  done
}

# install_packages YES WHY PACKAGE...: asks once, unless YES is "yes".
install_packages() {
  local yes=$1 why=$2 answer sudo=
  shift 2
  [ $# -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || sudo=sudo
  say "Missing, $why: $*"
  if [ "$yes" != yes ]; then
    [ -t 0 ] || die "install it with: ${sudo:+sudo }apt-get install $* (or give --yes)"
    read -r -p "Install it now with ${sudo:+sudo }apt-get? [y/N] " answer
    case $answer in [yY]*) ;; *) die "not installed: $*" ;; esac
  fi
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null 2>&1 ||
    { $sudo apt-get update -qq > /dev/null && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null; } ||
    die "apt-get could not install: $*"
}

# The sum of everything that the binary is made from.
source_hash() {
  (cd "$1" && find src lab Directory.Build.props Directory.Packages.props global.json -type f ! -path '*/bin/*' ! -path '*/obj/*' -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# native_binary TOP YES: builds the native binary where the cache has none of these sources; sets $binary.
native_binary() {
  local top=$1 yes=$2 hash directory log
  hash=$(source_hash "$top")
  directory=$panacea_cache/bin/$hash
  binary=$directory/panacea
  [ -x "$binary" ] && return 0

  need_sdk
  mkdir -p "$panacea_cache/bin"
  # Ahead-of-time compilation links with clang or gcc, and splits off the symbols with objcopy.
  command -v clang > /dev/null 2>&1 || install_packages "$yes" "to link the native binary" $(packages_for gcc)
  install_packages "$yes" "to link the native binary" $(packages_for objcopy)
  [ -e /usr/include/stdio.h ] || install_packages "$yes" "to link the native binary" libc6-dev
  (
    flock 9
    [ -x "$binary" ] && exit 0
    log=$panacea_cache/bin/build.log
    say "Building the native binary (once for each version of the sources, about a minute) …"
    rm -rf "$directory.new"
    if ! (cd "$top" && dotnet publish src/Panacea.Cli/Panacea.Cli.csproj -c Release -r linux-x64 -o "$directory.new" --nologo -v quiet) > "$log" 2>&1 9>&-; then
      tail -n 30 "$log" >&2
      die "the native binary could not be built; the whole log: $log"
    fi
    mv "$directory.new" "$directory"
    # The newest few stay, so that going back and forth between versions stays fast.
    (cd "$panacea_cache/bin" && ls -td -- */ | tail -n +5 | xargs -r rm -rf)
  ) 9> "$panacea_cache/bin/.lock" || exit 1
}
