# An application on Rack whose sessions redis-rack keeps. SERIALIZER is json, or
# empty for Marshal.
require "json"
require "rack"
require "rack/handler/webrick"
require "rack/session/redis"

server = { url: "redis://#{ENV["REDIS"]}/0/rack:session" }
host, port = ENV["REDIS"].split(":")
server = { host: host, port: port.to_i, namespace: "rack:session" }
server[:serializer] = JSON if ENV["SERIALIZER"] == "json"

app = lambda do |env|
  request = Rack::Request.new(env)
  session = request.session
  body = ""
  case request.path
  when "/login"
    session.options[:renew] = true
    session["user"] = request.params["user"]
    session["warden.user.user.key"] = [[7], "$2a$12$salt"]
  when "/change"
    session["user"] = request.params["user"]
  when "/logout"
    session.destroy
  else
    session["views"] = (session["views"] || 0) + 1
    body = session["user"].to_s
  end
  [200, { "Content-Type" => "text/plain" }, [body]]
end

app = Rack::Session::Redis.new(app, redis_server: server,
  expire_after: (ENV["MAX_AGE"] || "3600000").to_i / 1000)
Rack::Handler::WEBrick.run(app, Host: "127.0.0.1", Port: ENV["PORT"].to_i,
  Logger: WEBrick::Log.new(nil, WEBrick::BasicLog::ERROR), AccessLog: [])
