<?php
// What Laravel does for a request with a session, put together of its own
// parts: EncryptCookies, StartSession with the driver redis, and SessionGuard's
// name for who is logged in. CIPHER and ENCRYPT are as in its configuration.
require 'Illuminate/Session/autoload.php';
require 'Illuminate/Cache/autoload.php';
require 'Illuminate/Redis/autoload.php';
require 'Illuminate/Cookie/autoload.php';
require 'Illuminate/Encryption/autoload.php';

use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Cookie\CookieValuePrefix;
use Illuminate\Encryption\Encrypter;
use Illuminate\Redis\Connectors\PhpRedisConnector;
use Illuminate\Session\CacheBasedSessionHandler;
use Illuminate\Session\EncryptedStore;
use Illuminate\Session\Store;

class Factory implements Illuminate\Contracts\Redis\Factory
{
    public function connection($name = null)
    {
        [$host, $port] = explode(':', getenv('REDIS'));
        return (new PhpRedisConnector)->connect(
            ['host' => $host, 'port' => (int) $port, 'database' => 0], ['prefix' => 'laravel_database_']);
    }
}

$key = base64_decode(substr(explode(',', getenv('SECRETS'))[0], strlen('base64:')));
$encrypter = new Encrypter($key, getenv('CIPHER') ?: 'AES-256-CBC');
$name = 'laravel_session';
$id = null;
if (isset($_COOKIE[$name])) {
    try {
        $value = $encrypter->decrypt($_COOKIE[$name], false);
        if (strpos($value, CookieValuePrefix::create($name, $key)) === 0) {
            $id = CookieValuePrefix::remove($value);
        }
    } catch (Illuminate\Contracts\Encryption\DecryptException $e) {
    }
}
$minutes = (int) (getenv('MAX_AGE') ?: 3600000) / 60000;
$handler = new CacheBasedSessionHandler(new Repository(new RedisStore(new Factory, 'laravel_cache')), $minutes);
$session = getenv('ENCRYPT') ? new EncryptedStore($name, $handler, $encrypter, $id) : new Store($name, $handler, $id);
$session->start();
$login = 'login_web_' . sha1('Illuminate\Auth\SessionGuard');
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/login':
        $session->migrate(true);
        $session->put($login, 7);
        $session->put('user', $_GET['user']);
        break;
    case '/change':
        $session->put('user', $_GET['user']);
        break;
    case '/logout':
        $session->invalidate();
        break;
    default:
        $session->flash('status', 'Zoë \n "quoted"');
        $body = $session->get('user', '');
}
$session->save();
$cookie = $encrypter->encrypt(CookieValuePrefix::create($name, $key) . $session->getId(), false);
setcookie($name, $cookie, ['path' => '/', 'httponly' => true]);
echo $body ?? '';
