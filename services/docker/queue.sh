#!/bin/sh
# The queue's container: `queue` starts the server, `queue cli ...` is redis-cli of its operator, who may do everything.
# Each user of queue-users.conf gets a random password at the first start, or the one in the file of its name in PASSWORDS_DIR (an
# orchestrator's secrets). A service finds its URL, with the password, in a volume that no other service mounts. QUEUE_DIR and
# ACCESS_DIR: where data and those volumes are; options of the server may follow.
set -eu
umask 077
here=$(dirname "$(readlink -f "$0")")
data=${QUEUE_DIR:-/queue} access=${ACCESS_DIR:-/access} passwords=${PASSWORDS_DIR:-/run/queue-passwords}

password() { # USER
    if [ -s "$passwords/$1" ]; then
        tr -d '\n' <"$passwords/$1"
        return
    fi
    if [ ! -s "$data/$1.password" ]; then
        od -An -N 32 -tx1 /dev/urandom | tr -d ' \n' >"$data/$1.password.new"
        mv "$data/$1.password.new" "$data/$1.password"
    fi
    cat "$data/$1.password"
}

if [ "${1-}" = cli ]; then
    shift
    REDISCLI_AUTH=$(password operator) exec redis-cli --user operator "$@"
fi

cp "$here/queue-users.conf" "$data/users.conf"
for user in operator inference_server sim_worker trainer_job autoscaler; do
    hash=$(password "$user" | sha256sum | cut -d ' ' -f 1)
    sed -i "s/^user $user on/& #$hash/" "$data/users.conf"
    if [ -d "$access/$user" ]; then
        printf 'redis://%s:%s@redis:6379/0' "$user" "$(password "$user")" >"$access/$user/redis_url.new"
        mv "$access/$user/redis_url.new" "$access/$user/redis_url"
    fi
done
exec redis-server "$here/../queue.conf" --include "$data/users.conf" --bind 0.0.0.0 --protected-mode no --dir "$data" "$@"
