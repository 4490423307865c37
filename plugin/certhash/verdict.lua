-- Judges whether the certificates that a head-end sends are those that phones expect.
--
--   local book = verdict.new()
--   book:add(file)                     a file as cnf.read returns it, with path =, or with frame = and client = if fetched
--   book:answer(name, address, frame)  a name was seen to resolve to an address
--   local found = book:judge(case)
--
-- A file that a phone downloads in the capture counts from then on, and replaces the phone's earlier file and the copies in
-- the folder.  Frames before the download are judged without it, even if they are displayed again later.
--
-- Digests and addresses are bytes.

---@class certhash.Case the certificates of a server, and its client
---@field frame integer
---@field server { address: string, port: integer }
---@field client { address: string, port: integer }
---@field transport string tcp or udp
---@field server_name string|nil
---@field chain { thumbprint: string, thumbprint256: string }[]
---@field rejected boolean|nil
---@field most integer
---@field nowhere nil|fun(file: table): boolean whether no server presents the certificate of a file without a URL

---@class certhash.Found the result for a case
---@field verdict string|nil
---@field listed table[]
---@field told table[]
---@field own certhash.File|nil
---@field own_differs boolean|nil
---@field unnamed table[] phones whose hash matches, but whose host-ID check does not accept the certificate's names

local M = {}

local DTLS_PORT = 443  -- phones use it for DTLS, regardless of the port in the URL (ocserv, README-cisco-svc)
local MOST_NAMES = 20000  -- in addition to those in URLs: a capture may have any number of irrelevant lookups

local others = ... or {}  -- the modules by name (plain.lua)
local hostid = others.hostid

local Book = {}
Book.__index = Book

--- Return an empty book.
function M.new()
    return setmetatable({
        files = 0,
        by_digest = {},   -- digest -> { { file, item } }
        by_address = {},  -- address -> { { file, url } }
        by_name = {},     -- host name -> { { file, url } }
        copies = {},      -- device -> files of the folder
        fetched = {},     -- device -> files downloaded in the capture, in order
        clients = {},     -- address -> files whose download identifies its device from then on, in order
        names = {},       -- address -> { name -> first frame }
        names_count = 0,
        has_sha512 = false,
        anywhere = {},    -- stated files without a URL: they apply to any head-end
    }, Book)
end

local function append(map, key, value)
    local list = map[key]
    if list then
        list[#list + 1] = value
    else
        map[key] = { value }
    end
end

-- Return a comparable value of what the phone uses: files with equal values mean the same to a phone.
local function says(file)
    if not file.urls then
        return file.kind == "encrypted" and "encrypted" or ""
    end
    local parts, digests = {}, {}
    for _, url in ipairs(file.urls) do
        parts[#parts + 1] = url.text
    end
    for _, item in ipairs(file.hashes) do
        digests[#digests + 1] = item.digest or item.text
    end
    table.sort(digests)
    return table.concat(parts, "\0") .. "\1" .. table.concat(digests, "\0") .. "\1" .. file.host_id_check
        .. "\1" .. file.hash_algorithm
end

--- Add a file.  The first of several equal copies in the folder represents them all.  The same applies to repeated
-- downloads: a phone that cannot connect restarts, and downloads its file again, for days.
---@param file certhash.File
function Book:add(file)
    local known = self.copies[file.device] or {}
    if file.frame then
        local fetched, here = self.fetched[file.device] or {}, self.clients[file.client] or {}
        known = { fetched[#fetched] }
        if #here == 0 or here[#here].device ~= file.device then
            append(self.clients, file.client, file)
        end
    end
    for _, other in ipairs(known) do
        if says(other) == says(file) then
            return
        end
    end
    self.files = self.files + 1
    if file.anywhere then
        self.anywhere[#self.anywhere + 1] = file
    end
    for _, url in ipairs(file.urls or {}) do
        local head_end = url.head_end
        if head_end then
            append(head_end.address and self.by_address or self.by_name, head_end.address or head_end.host,
                { file = file, url = url })
        end
    end
    for _, item in ipairs(file.hashes or {}) do
        self.has_sha512 = self.has_sha512 or item.algorithm == "SHA-512"
        if item.digest then
            append(self.by_digest, item.digest, { file = file, item = item })
        end
    end
    if file.frame then
        append(self.fetched, file.device, file)
    else
        append(self.copies, file.device, file)
    end
end

--- Record that a name belongs to an address, by a DNS answer or because a client asked for it there.
---@param name string
---@param host string
---@param frame integer
function Book:answer(name, host, frame)
    name = name:lower():gsub("%.$", "")
    local names = self.names[host]
    if names and names[name] or self.names_count >= MOST_NAMES and not self.by_name[name] then
        return
    end
    self.names[host] = names or {}
    self.names[host][name] = frame
    self.names_count = self.names_count + 1
end

-- Return the newest of a list of downloaded files before a frame.
local function before(list, frame)
    for i = list and #list or 0, 1, -1 do
        if list[i].frame < frame then
            return list[i]
        end
    end
    return nil
end

-- Return whether a file is the one that its device had when that frame was sent.
---@param file certhash.File
---@param frame integer
---@return boolean
function Book:in_force(file, frame)
    local newest = before(self.fetched[file.device], frame)
    if newest then
        return newest == file
    end
    return not file.frame
end

--- Return the copies in the folder that differ from the file that their phone downloaded.  Encrypted files cannot be
-- compared.
---@param file certhash.File
---@return certhash.File[]
function Book:stale_copies(file)
    local out = {}
    for _, copy in ipairs(self.copies[file.device] or {}) do
        if copy.kind ~= "encrypted" and file.kind ~= "encrypted" and says(copy) ~= says(file) then
            out[#out + 1] = copy
        end
    end
    return out
end

--- Return the file that the device at an address has when a frame is sent; nil if the device is unknown.
---@param client string address, bytes
---@param frame integer
---@return certhash.File|nil
function Book:file_of(client, frame)
    local last = before(self.clients[client], frame)
    return last and before(self.fetched[last.device], frame)
end

local function port_fits(case, head_end)
    return case.server.port == head_end.port or case.transport == "udp" and case.server.port == DTLS_PORT
end

-- Return whether a URL names the head-end of a handshake: by its address, or by a name that the client asked for or that
-- the capture shows for that address.  A client that asks for another name there is connected to another head-end.
---@param url certhash.Url
---@param case certhash.Case
---@return boolean
function Book:names_head_end(url, case)
    local head_end = url.head_end
    if not head_end or not port_fits(case, head_end) then
        return false
    elseif head_end.address then
        return head_end.address == case.server.address
    elseif case.server_name then
        return head_end.host == case.server_name
    end
    local since = (self.names[case.server.address] or {})[head_end.host]
    return since ~= nil and since <= case.frame
end

-- Return the URL of a file that names the head-end, or nil.
---@param file certhash.File
---@param case certhash.Case
---@return certhash.Url|nil
function Book:url_for(file, case)
    if file.anywhere then
        return file.anywhere
    end
    for _, url in ipairs(file.urls or {}) do
        if self:names_head_end(url, case) then
            return url
        end
    end
    return nil
end

-- Return whether digests are compared as SHA-1 only, as with hashAlg 0; for other values, which have not been seen so far,
-- the length determines the algorithm.
local function sha1_only(file)
    return file.hash_algorithm == "" or file.hash_algorithm == "0"
end

-- Return whether a listed digest counts as a match of this certificate.
local function counts(entry)
    return entry.item.algorithm == "SHA-1" or not sha1_only(entry.file)
end

-- Return whether it cannot be decided here if a file matches, because the plugin does not compute SHA-512.
local function beyond_us(file)
    if sha1_only(file) then
        return false
    end
    for _, item in ipairs(file.hashes or {}) do
        if item.algorithm == "SHA-512" then
            return true
        end
    end
    return false
end

-- Call a function with every listing of a certificate's digests that is in force; it returns true to stop.
function Book:each_listing(certificate, frame, visit)
    for _, digest in ipairs({ certificate.thumbprint, certificate.thumbprint256 }) do
        for _, entry in ipairs(self.by_digest[digest] or {}) do
            if counts(entry) and self:in_force(entry.file, frame) and visit(entry) then
                return true
            end
        end
    end
    return false
end

-- Return the files whose URL may name the head-end, as one list per host.
function Book:told_by_host(case)
    local lists = { self.by_address[case.server.address] or {} }
    if case.server_name then
        lists[2] = self.by_name[case.server_name]
    else
        for name in pairs(self.names[case.server.address] or {}) do
            lists[#lists + 1] = self.by_name[name]
        end
    end
    return lists
end

-- Return the position (from 0) of the first certificate of the chain that has a hash of the file, and the hash; or nil.
local function carried(file, chain)
    for position, certificate in ipairs(chain) do
        for _, item in ipairs(file.hashes or {}) do
            if counts({ file = file, item = item })
                and (item.digest == certificate.thumbprint or item.digest == certificate.thumbprint256) then
                return position - 1, item
            end
        end
    end
    return nil
end

-- Call a function with every file in force whose URL names the head-end; it returns true to stop.  A hash that is stated
-- without a URL applies to the head-ends that present its certificate, or to all if none does.
function Book:each_told(case, visit)
    for _, list in ipairs(self:told_by_host(case)) do
        for _, entry in ipairs(list) do
            if self:names_head_end(entry.url, case) and self:in_force(entry.file, case.frame) and visit(entry) then
                return true
            end
        end
    end
    for _, file in ipairs(self.anywhere) do
        if (carried(file, case.chain) or case.nowhere and case.nowhere(file))
            and visit({ file = file, url = file.anywhere }) then
            return true
        end
    end
    return false
end

-- Return a list that stores its first members and notes that there are more, without duplicate files.
local function listing(most)
    local list = { more = false }
    local known = {}
    return list, function(entry)
        if known[entry.file] then
            return false
        elseif #list >= most then
            list.more = true
            return true
        end
        known[entry.file] = true
        list[#list + 1] = entry
        return false
    end
end

-- Return the files in force that list a certificate of the chain, but whose phone does not accept the names in the first.
function Book:unnamed(case)
    local found, leaf = { more = false }, case.chain[1]
    for _, list in ipairs(leaf and self:told_by_host(case) or {}) do
        local host = list[1] and list[1].url.head_end.host
        local known = {}  -- a file may name this host more than once
        for _, entry in ipairs(host and not hostid.names_host(leaf.names, host) and list or {}) do
            local file = entry.file
            if not known[file] and hostid.is_on(file) and self:names_head_end(entry.url, case)
                and self:in_force(file, case.frame) and carried(file, case.chain) then
                known[file] = true
                if #found >= case.most then
                    found.more = true
                    return found
                end
                found[#found + 1] = { file = file, doubt = hostid.doubt(file, leaf.names, host) }
            end
        end
    end
    return found
end

--- Judge the certificates that a server sent.
--
-- A case is { frame =, server = { address =, port = }, client = { address =, port = }, transport = "tcp" or "udp",
-- server_name = or nil, chain = { { thumbprint = SHA-1, thumbprint256 = SHA-256, names = } }, rejected = true or nil,
-- most = }, where most is the maximum number of devices to list.
--
-- The result is { verdict =, listed =, told =, own =, own_differs = }: the verdict is "match", "mismatch", "rejected" or
-- "unlisted" (nil if a SHA-512 may match, which the plugin does not compute); listed has, for each certificate of the
-- chain, { { file, item, url or nil } }; told has { { file, url } }; both have more = true if they stopped at `most`.
-- own is the file that this client downloaded, and own_differs is true if it names this head-end and no certificate has
-- one of its hashes, regardless of other phones.  unnamed has { { file, doubt } } of the phones whose hash matches, but
-- whose host-ID check does not accept the first certificate; the doubt says why.
---@param case certhash.Case
---@return certhash.Found
function Book:judge(case)
    local found = { listed = {}, told = nil, own = self:file_of(case.client.address, case.frame) }
    local own_url = found.own and self:url_for(found.own, case)
    if own_url then
        found.own_differs = not beyond_us(found.own) and carried(found.own, case.chain) == nil
    end
    local matched = false
    for position, certificate in ipairs(case.chain) do
        local list, take = listing(case.most)
        local function visit(entry)
            local url = self:url_for(entry.file, case)
            matched = matched or url ~= nil
            return take({ file = entry.file, item = entry.item, url = url })
        end
        -- The phone of this connection comes first, then those that are configured for this head-end: the limit must not
        -- drop their lines in favour of unrelated phones.
        local _, own_item = carried(found.own or {}, { certificate })
        if own_item then
            visit({ file = found.own, item = own_item })
        end
        self:each_listing(certificate, case.frame, function(entry)
            return self:url_for(entry.file, case) ~= nil and visit(entry)
        end)
        self:each_listing(certificate, case.frame, visit)
        found.listed[position] = list
    end
    local told, take = listing(case.most)
    if own_url then
        take({ file = found.own, url = own_url })
    end
    self:each_told(case, take)
    found.told = told
    if #told == 0 then
        found.verdict = "unlisted"
    elseif matched then
        found.verdict = case.rejected and "rejected" or "match"
    elseif not (self.has_sha512 and self:each_told(case, function(entry) return beyond_us(entry.file) end)) then
        found.verdict = "mismatch"
    end
    found.unnamed = matched and self:unnamed(case) or {}
    return found
end

return M
