<?php
// An application that uses PHP's own sessions, which the extension redis keeps.
ini_set('session.save_handler', 'redis');
ini_set('session.save_path', 'tcp://' . getenv('REDIS'));
ini_set('session.serialize_handler', getenv('HANDLER') ?: 'php');
ini_set('session.gc_maxlifetime', (string) intdiv((int) (getenv('MAX_AGE') ?: 3600000), 1000));
session_start();
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/login':
        session_regenerate_id(true);
        $_SESSION['user'] = $_GET['user'];
        $_SESSION['roles'] = ['reader', 'editor'];
        break;
    case '/change':
        $_SESSION['user'] = $_GET['user'];
        break;
    case '/logout':
        session_destroy();
        break;
    default:
        $_SESSION['views'] = ($_SESSION['views'] ?? 0) + 1;
        echo $_SESSION['user'] ?? '';
}
