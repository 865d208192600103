package redis

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Resolve sets everything that is not set, and returns an error for settings
// that conflict. A setting wins over the environment, and both win over the
// profile; parts of a URL are used where nothing is set. The environment is
// REDIS_URL, or REDIS_HOST and REDIS_PORT, if there is no address; then
// REDIS_USERNAME, REDIS_PASSWORD and REDIS_DB; and ENVIRONMENT for the profile.
// Resolving resolved options changes nothing.
func (o Options) Resolve(getenv func(string) string) (Options, error) {
	if o.URL != "" && len(o.Addresses) > 0 {
		return Options{}, errors.New("url and addresses are both given: a url has the address, give one of them")
	}
	o.Addresses = slices.Clone(o.Addresses)
	if err := o.chooseProfile(getenv); err != nil {
		return Options{}, err
	}
	if _, ok := profiles()[o.Profile]; !ok {
		return Options{}, oneOf("profile", o.Profile, profileNames()...)
	}
	if err := o.fromEnvironment(getenv); err != nil {
		return Options{}, err
	}
	if err := o.chooseAddresses(); err != nil {
		return Options{}, err
	}
	o.setDefaults()
	return o, o.validate()
}

func (o *Options) fromEnvironment(getenv func(string) string) error {
	hasCredentials := false
	var err error
	switch {
	case o.URL != "":
		hasCredentials, err = o.fromURL("url", o.URL)
	case len(o.Addresses) > 0:
	case getenv("REDIS_URL") != "":
		hasCredentials, err = o.fromURL("REDIS_URL", getenv("REDIS_URL"))
	default:
		err = o.fromHostAndPort(getenv("REDIS_HOST"), getenv("REDIS_PORT"))
	}
	if err != nil {
		return err
	}
	o.URL = ""
	if !hasCredentials {
		setDefault(&o.Username, getenv("REDIS_USERNAME"))
		setDefault(&o.Password, getenv("REDIS_PASSWORD"))
	}
	if text := getenv("REDIS_DB"); text != "" && o.DB == nil {
		db, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("REDIS_DB is %q: want the number of a database", text)
		}
		o.DB = &db
	}
	return nil
}

func (o *Options) fromHostAndPort(host, port string) error {
	// Kubernetes sets REDIS_PORT to tcp://… for a service that is called redis.
	// That is not a setting.
	if strings.HasPrefix(port, "tcp://") {
		port = ""
	}
	if host == "" && port == "" {
		return nil
	}
	setDefault(&host, profiles()[o.Profile].host)
	if port != "" {
		if !validPort(port) {
			return fmt.Errorf("REDIS_PORT is %q: want a number from 1 to 65535", port)
		}
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	o.Addresses = []string{host}
	return nil
}

// chooseAddresses chooses the client type for the addresses and adds missing
// ports.
func (o *Options) chooseAddresses() error {
	if o.ClientType == "" {
		switch {
		case o.MasterName != "":
			o.ClientType = Failover
		case len(o.Addresses) > 1:
			o.ClientType = Cluster
		default:
			o.ClientType = Simple
		}
	}
	defaultPort := "6379"
	if o.ClientType == Failover {
		defaultPort = "26379"
		if len(o.Addresses) == 0 {
			return errors.New("failover has no addresses: give those of the sentinels")
		}
	}
	if len(o.Addresses) == 0 {
		o.Addresses = []string{profiles()[o.Profile].host}
	}
	for i, address := range o.Addresses {
		var err error
		if o.Addresses[i], err = withPort(address, defaultPort); err != nil {
			return err
		}
	}
	return nil
}

// withPort adds the default port to an address, unless that is the path of a
// socket.
func withPort(address, defaultPort string) (string, error) {
	if isSocket(address) {
		return address, nil
	}
	if strings.ContainsAny(address, "/@") {
		// the address is not repeated: a URL may contain a password
		return "", errors.New("an address is a URL or a path: want host:port, the absolute path of a unix socket, or the URL as url")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		// there is no port, or it is an IPv6 address with colons of its own
		host, port = strings.Trim(address, "[]"), defaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			host = ""
		}
	}
	if host == "" || strings.ContainsAny(host, " []") || !validPort(port) {
		return "", fmt.Errorf("address is %q: want host:port, or the path of a unix socket", address)
	}
	return net.JoinHostPort(host, port), nil
}

func isSocket(address string) bool { return strings.HasPrefix(address, "/") }

func validPort(text string) bool {
	port, err := strconv.Atoi(text)
	return err == nil && port > 0 && port < 1<<16
}
