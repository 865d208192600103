// The commands that each connection begins with: it logs in, selects its
// database, and asks for the server's run ID.

package redis

import (
	"bufio"
	"context"
	"strconv"
	"time"
)

// clientName is the name of connections in CLIENT LIST.
const clientName = "caddy-filewallball"

// handshake returns the connection, the server's run ID, and the answers to
// more commands. It sends all commands before it reads the first answer.
func (c *connector) handshake(ctx context.Context, s *server, protocol3 bool, more [][]string) (cn *conn, runID string, answers []any, err error) {
	network := "tcp"
	if isSocket(s.addr) {
		network = "unix"
	}
	raw, err := c.dial(ctx, network, s.addr)
	if err != nil {
		return nil, "", nil, err
	}
	defer func() {
		if err != nil {
			_ = raw.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
	}()
	login := c.login(protocol3)
	commands := login[:len(login):len(login)]
	named := c.mayName(s)
	if named {
		commands = append(commands, []string{"CLIENT", "SETNAME", clientName})
	}
	var text []byte
	for _, command := range append(append(commands, []string{"INFO", "server"}), more...) {
		text = appendCommand(text, command...)
	}
	cn = &conn{Conn: raw, connector: c}
	cn.reader = bufio.NewReader(cn)
	if _, err := cn.Write(text); err != nil {
		return nil, "", nil, contextError(ctx, err)
	}
	read := func() (any, error) {
		answer, err := readReply(cn.reader)
		if err != nil {
			return nil, contextError(ctx, err)
		}
		return answer, nil
	}
	if err := c.readLogin(read, s, login, named); err != nil {
		return nil, "", nil, err
	}
	info, err := read()
	if err != nil {
		return nil, "", nil, err
	}
	if err := refusalOf("INFO", info); err != nil {
		return nil, "", nil, contextError(ctx, err)
	}
	for range more {
		answer, err := read()
		if err != nil {
			return nil, "", nil, err
		}
		answers = append(answers, answer)
	}
	infoText, _ := info.(string)
	return cn, parseInfo(infoText)["run_id"], answers, nil
}

// readLogin reads the answers to the login and, if it was sent, to the name of
// the connection.
func (c *connector) readLogin(read func() (any, error), s *server, login [][]string, named bool) error {
	for _, command := range login {
		answer, err := read()
		if err != nil {
			return err
		}
		if err := refusalOf(command[0], answer); err != nil {
			return err
		}
	}
	if !named {
		return nil
	}
	answer, err := read()
	if err != nil {
		return err
	}
	// a server that refuses the connection says so in its first answer
	if err := refusalOf("CLIENT", answer); err != nil {
		return err
	}
	if _, refused := answer.(replyError); refused {
		c.forgoNames(s)
	}
	return nil
}

// mayName reports whether the server accepts names of connections.
func (c *connector) mayName(s *server) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !s.nameless
}

// forgoNames notes that the server refuses names of connections. They only help
// people who read CLIENT LIST, so later connections have none.
func (c *connector) forgoNames(s *server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.nameless = true
}

// login returns the commands that every connection begins with.
func (c *connector) login(protocol3 bool) (commands [][]string) {
	o := c.options
	switch {
	case protocol3 && o.Password != "":
		user := o.Username
		if user == "" {
			user = "default"
		}
		commands = append(commands, []string{"HELLO", "3", "AUTH", user, o.Password})
	case protocol3:
		commands = append(commands, []string{"HELLO", "3"})
	case o.Password != "" && o.Username != "":
		commands = append(commands, []string{"AUTH", o.Username, o.Password})
	case o.Password != "":
		commands = append(commands, []string{"AUTH", o.Password})
	}
	if o.db() != 0 {
		commands = append(commands, []string{"SELECT", strconv.Itoa(o.db())})
	}
	return commands
}

// refusalOf returns the error if a command's answer means that the handshake
// failed: the login failed, or the server accepts no clients.
func refusalOf(command string, answer any) error {
	refusal, ok := answer.(replyError)
	if !ok {
		return nil
	}
	switch {
	case hasCode(refusal, "BUSY", "LOADING", "MASTERDOWN"): // temporary
		return refusal
	case isRefusal(refusal), command == "AUTH", command == "SELECT":
		return &refusedError{string(refusal)}
	case command == "HELLO":
		return asUnsupported(refusal)
	}
	return nil // such as NOPERM for INFO: the server has no run ID then
}

// contextError returns the context's error if that caused the failure.
func contextError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
