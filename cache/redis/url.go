package redis

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// fromURL sets the options that are not set from a URL:
//
//	redis://[user:password@]host[:port][/db]
//	rediss://…                                (with TLS)
//	unix://[user:password@]/path[?db=n]
//
// The parameter addr is one more address and may be repeated; master_name is
// the name of the master. Errors never repeat the URL, nor a part of it that
// may belong to a password.
func (o *Options) fromURL(setting, text string) (hasCredentials bool, err error) {
	const want = "want redis://[user:password@]host[:port][/db], rediss://… for TLS, or unix:///path"
	u, err := url.Parse(text)
	if err != nil {
		return false, fmt.Errorf("%s cannot be read: %s; special characters in a password are percent-encoded", setting, want)
	}
	switch u.Scheme {
	case "redis", "rediss":
		err = o.fromTCP(u)
	case "unix":
		if u.Path == "" || u.Host != "" {
			err = errors.New("a unix socket needs an absolute path")
		}
		o.Addresses = []string{u.Path}
	default:
		err = errors.New("its scheme is unknown")
	}
	if err == nil {
		err = o.fromQuery(u.Query())
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w: %s", setting, err, want)
	}
	if u.User == nil {
		return false, nil
	}
	setDefault(&o.Username, u.User.Username())
	password, given := u.User.Password()
	if given && password == "" {
		return false, fmt.Errorf("%s: its password is empty: write one, or leave out the colon before the @", setting)
	}
	setDefault(&o.Password, password)
	return true, nil
}

func (o *Options) fromTCP(u *url.URL) error {
	address := u.Host
	if u.Port() == "" {
		address = u.Hostname()
	}
	if u.Hostname() == "" {
		return errors.New("it has no host")
	}
	o.Addresses = []string{address}
	if u.Scheme == "rediss" && o.TLS == nil {
		o.TLS = new(TLS)
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		return o.fromDB(path)
	}
	return nil
}

func (o *Options) fromQuery(query url.Values) error {
	for name, values := range query {
		last := values[len(values)-1]
		switch name {
		case "addr":
			o.Addresses = append(o.Addresses, values...)
		case "master_name":
			setDefault(&o.MasterName, last)
		case "db":
			if err := o.fromDB(last); err != nil {
				return err
			}
		default:
			return errors.New("it has an unknown parameter, want addr, db or master_name: all else has an option of its own")
		}
	}
	return nil
}

func (o *Options) fromDB(text string) error {
	db, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("the database is not a number")
	}
	if o.DB == nil {
		o.DB = &db
	}
	return nil
}
