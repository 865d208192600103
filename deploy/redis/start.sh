#!/bin/sh
# Starts redis-server with the users of users.acl, which is beside this file. The nodes'
# password is REDIS_PASSWORD, that of the application APPLICATION_PASSWORD, or the same if
# that is not set. TLS is used if REDIS_TLS names a directory with redis.crt and redis.key.
# Further arguments are passed to redis-server.
set -eu

: "${REDIS_PASSWORD:?set it to the password of the users}"
run=${REDIS_RUN:-/tmp}
umask 077
hash=$(printf %s "$REDIS_PASSWORD" | sha256sum | cut -d ' ' -f 1)
application=$(printf %s "${APPLICATION_PASSWORD:-$REDIS_PASSWORD}" | sha256sum | cut -d ' ' -f 1)
sed "s/@sha256@/$hash/; s/@application@/$application/" "$(dirname "$0")/users.acl" > "$run/users.acl"
unset REDIS_PASSWORD APPLICATION_PASSWORD

set -- --aclfile "$run/users.acl" --maxmemory "${REDIS_MAXMEMORY:-256mb}" --maxmemory-policy volatile-lru "$@"
port=${REDIS_PORT:-6379}
case $port in *[!0-9]*) port=6379 ;; esac # Kubernetes gives a Service's variables such values
if [ -n "${REDIS_TLS:-}" ]; then
	set -- --port 0 --tls-port "$port" --tls-auth-clients no \
		--tls-cert-file "$REDIS_TLS/redis.crt" --tls-key-file "$REDIS_TLS/redis.key" "$@"
else
	set -- --port "$port" "$@"
fi
exec redis-server "$@"
