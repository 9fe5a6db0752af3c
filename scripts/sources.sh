# shellcheck shell=bash
# Sourced by the other scripts.

# sources [FILE...]: the files named, or else all files of the project, one a line. In a git
# checkout that is what git tracks or would track; elsewhere all but what builds leave behind.
sources() {
    if [ $# -gt 0 ]; then
        printf '%s\n' "$@"
    elif git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard | while read -r file; do
            if [ -f "$file" ]; then echo "$file"; fi
        done
    else
        find . -type f -not -path './build*' -not -path './.venv*/*' -not -path './data/*' \
            -not -path './.git/*' -not -name '*.pyc' | sed 's|^\./||'
    fi
}

# python_among: of the files named on stdin, one a line, those in Python, by suffix or first line.
python_among() {
    local file first
    while IFS= read -r file; do
        if [[ $file == *.py ]]; then
            echo "$file"
        elif [ -f "$file" ] && IFS= read -r -n 80 first <"$file" && [[ $first == '#!'*python* ]]; then
            echo "$file"
        fi
    done
}
