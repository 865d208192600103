// The classes that a pickle may hold, and how their objects are made.

package formats

// harmless are the classes of plain data. All others are refused.
var harmless = map[string]bool{
	"datetime.datetime": true, "datetime.date": true, "datetime.time": true,
	"datetime.timedelta": true, "datetime.timezone": true,
	// the time zones of Django before version 4
	"pytz._UTC": true, "pytz._p": true,
	"decimal.Decimal": true, "collections.Counter": true, "uuid.SafeUUID": true,
	"builtins.set": true, "builtins.frozenset": true, "builtins.bytearray": true,
	"__builtin__.set": true, "__builtin__.frozenset": true, "__builtin__.bytearray": true,
	// how Python 3 writes bytes in protocols of Python 2
	"_codecs.encode": true,
	// what a defaultdict makes its values with
	"builtins.dict": true, "builtins.float": true, "builtins.int": true, "builtins.list": true, "builtins.str": true,
	"__builtin__.dict": true, "__builtin__.float": true, "__builtin__.int": true, "__builtin__.list": true, "__builtin__.str": true,
	"__builtin__.long": true, "__builtin__.unicode": true,
}

// special are classes of plain data whose objects are rewritten.
var special = map[string]kind{
	"collections.OrderedDict":            kindOrderedDict,
	"collections.defaultdict":            kindDefaultDict,
	"uuid.UUID":                          kindUUID,
	"django.utils.safestring.SafeString": kindSafeString,
	"django.utils.safestring.SafeText":   kindSafeString,
	"markupsafe.Markup":                  kindSafeString,
	// a zone is what the method of its class returns
	"zoneinfo.ZoneInfo":   kindZone,
	"builtins.getattr":    kindMethodOf,
	"__builtin__.getattr": kindMethodOf,
}

// class reads the name of a class, which must be one of the harmless ones.
func (s *pickleScan) class(op byte) (kind, error) {
	var module, name string
	if op == 'c' {
		var err error
		if module, err = s.line(integerLine); err != nil {
			return 0, err
		}
		if name, err = s.line(integerLine); err != nil {
			return 0, err
		}
	} else {
		if len(s.stack) < 2 {
			return 0, s.fail("the stack is empty")
		}
		names := s.stack[len(s.stack)-2:]
		if names[0].kind != kindText || names[1].kind != kindText {
			return 0, s.fail("the name of a class is not text")
		}
		module, name = s.data[names[0].at:names[0].end], s.data[names[1].at:names[1].end]
		s.stack = s.stack[:len(s.stack)-2]
	}
	class := module + "." + name
	if kind, ok := special[class]; ok {
		return kind, nil
	}
	if harmless[class] {
		return kindClass, nil
	}
	return 0, s.fail("there is an object of the class " + className(class) +
		": want text, numbers, lists, dicts and times alone")
}

// tupleOf is the kind of a tuple of values.
func tupleOf(values []slot) kind {
	switch {
	case len(values) == 0:
		return kindEmptyTuple
	case len(values) == 2 && values[0].kind == kindZone:
		return kindZoneTuple
	}
	return kindTuple
}

// className is the name of a class for an error, if it looks like one.
func className(name string) string {
	for _, c := range []byte(name) {
		if c != '.' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			name = ""
		}
	}
	if name == "" || len(name) > 100 {
		return "without a valid name"
	}
	return name
}

// reduce runs a call of a class. That of an OrderedDict or a defaultdict makes a dict,
// whose items follow: og-rek, which has no instance to add them to, is given one.
func (s *pickleScan) reduce() error {
	class, args, err := s.call()
	switch {
	case err != nil:
		return err
	case class == kindOrderedDict && args == kindEmptyTuple, class == kindDefaultDict:
		s.push(slot{kind: kindDict})
		s.out = append(s.out, "00}"...) // POP, POP, EMPTY_DICT
	case class == kindMethodOf && args == kindZoneTuple: // the class stands for its method
		s.push(slot{kind: kindZoneMethod})
		s.out = append(s.out, "00czoneinfo\nZoneInfo\n"...) // POP, POP, GLOBAL
	case class == kindZoneMethod && args == kindTuple:
		s.push(slot{})
		s.out = append(s.out, 'R')
	case class == kindOrderedDict, class == kindClass: // the former with a list of its items, from Python 2
		s.push(slot{})
		s.out = append(s.out, 'R')
	default:
		return s.fail("a call is not one of a class with plain arguments")
	}
	return nil
}

// newObject makes an object of a class that is no function: a text, or a UUID, whose
// state follows. og-rek is given a list of the class, to which the state is added.
func (s *pickleScan) newObject() error {
	class, args, err := s.call()
	switch {
	case err != nil:
		return err
	case class == kindSafeString:
		s.push(slot{})
		s.out = append(s.out, 'R')
	case class == kindUUID && args == kindEmptyTuple:
		s.push(slot{kind: kindObject, at: -1})
		s.out = append(s.out, "00]cuuid\nUUID\na"...) // POP, POP, EMPTY_LIST, GLOBAL, APPEND
	default:
		return s.fail("there is an object of a class whose objects are not plain data")
	}
	return nil
}

// call takes a class and its arguments, which must be a tuple, from the stack.
func (s *pickleScan) call() (class, args kind, err error) {
	if len(s.stack) < 2 {
		return 0, 0, s.fail("the stack is empty")
	}
	class, args = s.stack[len(s.stack)-2].kind, s.stack[len(s.stack)-1].kind
	s.stack = s.stack[:len(s.stack)-2]
	if args != kindTuple && args != kindEmptyTuple && args != kindZoneTuple {
		return 0, 0, s.fail("a call is not one of a class with plain arguments")
	}
	return class, args, nil
}
