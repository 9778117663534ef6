# Install Chromium from the packages of Debian, for the tests that look at a report.
# `make browser` runs it, nothing else does. It never fails: without a browser those tests are skipped.
for browser in chromium chromium-browser google-chrome; do
    command -v "$browser" >/dev/null && exit 0
done
if ! command -v apt-get >/dev/null; then
    echo "no Chromium and no apt-get: tests of reports in a browser will be skipped"
    exit 0
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    if ! $as_root true 2>/dev/null; then
        echo "no Chromium and no right to install it: tests of reports in a browser will be skipped"
        exit 0
    fi
fi
echo "installing Chromium, in which tests look at reports"
install() {
    $as_root timeout 120 apt-get update --quiet=2 &&
        $as_root env DEBIAN_FRONTEND=noninteractive timeout 600 \
            apt-get install --yes --quiet=2 --no-install-recommends chromium
}
log=$(install 2>&1) || {
    echo "$log" | tail -n 3
    echo "Chromium could not be installed: tests of reports in a browser will be skipped"
}
exit 0
